"""Who goes with whom: the pairs of rows and columns that cost least together, for a handful of each."""

from collections import defaultdict
from collections.abc import Mapping

LARGEST = 12  # rows or columns of one knot that are solved exactly; a denser crowd is paired nearest first

Costs = Mapping[tuple[int, int], float]


def pair(costs: Costs) -> list[tuple[int, int]]:
    """The (row, column) pairs, each row and column in one at most, whose sum of costs is least; nobody has to be in one.

    Only what is in `costs` can be paired, and only a cost below 0 is worth it. Ties go to the lower numbers.
    """
    worthy = {key: cost for key, cost in costs.items() if cost < 0}
    if len({row for row, _ in worthy}) == len(worthy) == len({column for _, column in worthy}):
        return list(worthy)
    return [one for knot in _knots(worthy) for one in _solve(knot)]


def _knots(costs: Costs) -> list[Costs]:
    """Split into parts that share no row and no column."""
    by_row, by_column = defaultdict(list), defaultdict(list)
    for row, column in costs:
        by_row[row].append(column)
        by_column[column].append(row)
    knots: list[Costs] = []
    done: set[int] = set()
    for first in by_row:
        if first in done:
            continue
        rows, todo = {first}, [first]
        while todo:
            for column in by_row[todo.pop()]:
                new = set(by_column[column]) - rows
                rows |= new
                todo += new
        done |= rows
        knots.append({(row, column): costs[row, column] for row in sorted(rows) for column in by_row[row]})
    return knots


def _solve(costs: Costs) -> list[tuple[int, int]]:
    rows, columns = sorted({row for row, _ in costs}), sorted({column for _, column in costs})
    if len(rows) == 1 or len(columns) == 1:
        return [min(costs, key=lambda key: (costs[key], key))]
    if max(len(rows), len(columns)) > LARGEST:
        return _nearest_first(costs)
    return _least(costs, rows, columns)


def _nearest_first(costs: Costs) -> list[tuple[int, int]]:
    taken: list[tuple[int, int]] = []
    used_rows: set[int] = set()
    used_columns: set[int] = set()
    for row, column in sorted(costs, key=lambda key: (costs[key], key)):
        if row not in used_rows and column not in used_columns:
            taken.append((row, column))
            used_rows.add(row)
            used_columns.add(column)
    return taken


def _least(costs: Costs, rows: list[int], columns: list[int]) -> list[tuple[int, int]]:
    """The Hungarian method by shortest augmenting paths; as many empty columns, of cost 0, let each row stay alone."""
    high, wide = len(rows), len(columns) + len(rows)
    table = [[costs.get((row, column), 1e6) for column in columns] + [0.0] * high for row in rows]
    row_price, price = [0.0] * high, [0.0] * wide
    owner: list[int] = [-1] * wide
    for newcomer in range(high):
        slack, came_from = [float("inf")] * wide, [-1] * wide
        closed = [False] * wide
        row, last = newcomer, -1
        while row >= 0:
            step, best = float("inf"), -1
            for column in range(wide):
                if closed[column]:
                    continue
                reduced = table[row][column] - row_price[row] - price[column]
                if reduced < slack[column]:
                    slack[column], came_from[column] = reduced, last
                if slack[column] < step:
                    step, best = slack[column], column
            row_price[newcomer] += step
            for column in range(wide):
                if closed[column]:
                    row_price[owner[column]] += step
                    price[column] -= step
                else:
                    slack[column] -= step
            closed[best], last = True, best
            row = owner[best]
        while last >= 0:
            before = came_from[last]
            owner[last] = owner[before] if before >= 0 else newcomer
            last = before
    return [(rows[owner[at]], column) for at, column in enumerate(columns) if owner[at] >= 0]
