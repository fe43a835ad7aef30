"""Accounts: signing in, sessions, links, roles, and how long one who mistypes must wait."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from argon2 import PasswordHasher
from sqlalchemy import Engine, select

from cloud.rules import AccountRules
from cloud.store import accounts as store
from cloud.store import audit
from cloud.store.accounts import Tries
from cloud.store.schema_accounts import accounts, invitations, sessions
from cloud.web.names import name_key, require_name
from cloud.web.passwords import Passwords, require_good
from cloud.web.people import People, UnknownLinkError, Visit, WrongError, hash_of
from cloud.web.roles import Role
from cloud.web.throttle import ADDRESS, NAME, PAIR, Attempt, WaitError
from contract.errors import ContractError
from tests.cloud.people_kit import HERE, PASSWORD, QUICK, add_person, new_people

NOW = datetime.now(UTC)
ELSEWHERE = Visit("192.0.2.7", "another browser")


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.fixture
def people(engine: Engine) -> People:
    return new_people(engine)


def said(engine: Engine) -> list[tuple[str, str]]:
    with engine.connect() as connection:
        return [(one.what, one.about) for one in reversed(audit.read(connection))]


def test_the_right_password_begins_a_session_and_only_its_hash_is_kept(engine: Engine, people: People) -> None:
    add_person(engine)
    token = people.sign_in("  ADA ", PASSWORD, HERE, NOW)
    person = people.whose(token, NOW)
    assert person is not None
    assert (person.name, person.role) == ("Ada", Role.ADMIN)
    with engine.connect() as connection:
        kept = str(connection.execute(select(sessions)).all()) + str(connection.execute(select(accounts)).all())
    assert token not in kept
    assert PASSWORD not in kept
    assert hash_of(token) in kept


def test_a_wrong_password_an_unknown_name_and_a_disabled_account_get_the_same_answer(
    engine: Engine, people: People
) -> None:
    add_person(engine)
    add_person(engine, "Bob", Role.VIEWER)
    people.disable("Bob", "a test", NOW)
    told = set()
    for name, password in (
        ("Ada", "not it, not it"),
        ("Nobody", PASSWORD),
        ("Bob", PASSWORD),
        ("\x00\ud800", PASSWORD),
    ):
        with pytest.raises(WrongError) as caught:
            people.sign_in(name, password, HERE, NOW)
        told.add(str(caught.value))
    assert len(told) == 1
    refused = [about for what, about in said(engine) if what == "sign-in refused"]
    assert refused == ["Ada", "(an unknown name)", "Bob", "(an unknown name)"]


def test_an_unknown_name_takes_as_long_as_a_wrong_password() -> None:
    known, hashed = Passwords(), []
    hashed = [known.hash(PASSWORD)]
    clock = datetime.now

    def took(stored: str | None) -> float:
        begun = clock(UTC)
        assert not known.fits(stored, "not it, not it")
        return (clock(UTC) - begun).total_seconds()

    took(None)
    wrong, unknown = min(took(hashed[0]) for _ in range(5)), min(took(None) for _ in range(5))
    assert 0.5 < wrong / unknown < 2


def test_a_password_kept_with_other_parameters_is_kept_anew_at_the_next_sign_in(engine: Engine, people: People) -> None:
    ada = add_person(engine)
    old = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(PASSWORD)
    with engine.begin() as connection:
        store.change(connection, ada.id, password=old)
    people.sign_in("Ada", PASSWORD, HERE, NOW)
    with engine.connect() as connection:
        kept = store.by_id(connection, ada.id).password
    assert kept != old
    assert QUICK.fits(kept, PASSWORD)


def test_a_session_ends_when_it_is_idle_and_ends_for_good_when_its_time_is_over(engine: Engine) -> None:
    add_person(engine)
    people = new_people(engine, AccountRules(idle_s=600, session_s=3600))
    token = people.sign_in("Ada", PASSWORD, HERE, NOW)
    for at, lives in ((500, True), (1000, True), (1599, True), (2198, True), (2797, True), (3396, True), (3601, False)):
        assert (people.whose(token, later(at)) is not None) is lives, at
    other = people.sign_in("Ada", PASSWORD, HERE, NOW)
    assert people.whose(other, later(600)) is None
    assert people.whose("no token", NOW) is None


def test_a_new_sign_in_replaces_the_session_that_the_browser_showed(engine: Engine, people: People) -> None:
    add_person(engine)
    first = people.sign_in("Ada", PASSWORD, HERE, NOW)
    second = people.sign_in("Ada", PASSWORD, Visit("127.0.0.1", "b", hash_of(first)), NOW)
    assert first != second
    assert people.whose(first, NOW) is None
    assert people.whose(second, NOW) is not None


def test_signing_out_here_elsewhere_and_by_a_new_password(engine: Engine, people: People) -> None:
    add_person(engine)
    one, two, three = (people.sign_in("Ada", PASSWORD, HERE, NOW) for _ in range(3))
    me = people.whose(one, NOW)
    assert me is not None
    assert people.sign_out_elsewhere(me, NOW) == 2
    assert [people.whose(token, NOW) is not None for token in (one, two, three)] == [True, False, False]
    other = people.sign_in("Ada", PASSWORD, ELSEWHERE, NOW)
    with pytest.raises(WrongError, match="present password"):
        people.change_password(me, "not it, not it", "a new and quiet lamp", HERE, NOW)
    fresh = people.change_password(me, PASSWORD, "a new and quiet lamp", HERE, NOW)
    assert [people.whose(token, NOW) is not None for token in (one, other, fresh)] == [False, False, True]
    with pytest.raises(WrongError):
        people.sign_in("Ada", PASSWORD, HERE, NOW)
    again = people.whose(fresh, NOW)
    assert again is not None
    people.sign_out(again, NOW)
    assert people.whose(fresh, NOW) is None


def test_a_link_makes_one_account_once_and_only_for_a_day(engine: Engine, people: People) -> None:
    token = people.first_link(NOW)
    assert token is not None
    with engine.connect() as connection:
        assert token not in str(connection.execute(select(invitations)).all())
    with pytest.raises(UnknownLinkError):
        people.welcome(token, "Ada", PASSWORD, HERE, later(24 * 3600))
    with pytest.raises(ContractError, match="at least 12"):
        people.welcome(token, "Ada", "short", HERE, NOW)
    session = people.welcome(token, "Ada", PASSWORD, HERE, NOW)
    person = people.whose(session, NOW)
    assert person is not None
    assert person.role is Role.ADMIN
    with pytest.raises(UnknownLinkError):
        people.welcome(token, "Eve", PASSWORD, HERE, NOW)
    assert people.first_link(NOW) is None
    assert [what for what, _ in said(engine)] == ["invited", "account made", "signed in"]


def test_while_nobody_has_an_account_each_start_makes_a_new_link_and_ends_the_one_before(people: People) -> None:
    first, second = people.first_link(NOW), people.first_link(NOW)
    assert first is not None
    assert second is not None
    with pytest.raises(UnknownLinkError):
        people.invitation(first, NOW)
    assert people.invitation(second, NOW)[0].role == "admin"


def test_of_two_who_use_a_link_at_once_one_gets_the_account(people: People) -> None:
    token = people.invite("", Role.VIEWER, "a test", NOW)

    def use(name: str) -> bool:
        try:
            people.welcome(token, name, PASSWORD, HERE, NOW)
        except UnknownLinkError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(use, ("Ann", "Ben", "Cem", "Dot"))) == 1
    assert len(people.accounts()) == 1


def test_a_reset_ends_password_sessions_and_older_links_and_brings_a_disabled_account_back(
    engine: Engine, people: People
) -> None:
    add_person(engine)
    add_person(engine, "Bob", Role.VIEWER)
    token = people.sign_in("Bob", PASSWORD, HERE, NOW)
    people.disable("bob", "a test", NOW)
    assert people.whose(token, NOW) is None
    older, newer = people.reset("Bob", "a test", NOW), people.reset("Bob", "a test", NOW)
    with pytest.raises(UnknownLinkError):
        people.welcome(older, "", "another long password", HERE, NOW)
    session = people.welcome(newer, "", "another long password", HERE, NOW)
    assert people.whose(session, NOW) is not None


def test_the_last_admin_stays_one_even_when_two_ask_at_once(engine: Engine, people: People) -> None:
    add_person(engine, "Ada")
    add_person(engine, "Bea")

    def demote(name: str) -> bool:
        try:
            people.set_role(name, Role.VIEWER, "a test", NOW)
        except ContractError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(demote, ("Ada", "Bea"))) == 1
    (admin,) = [one.name for one in people.accounts() if one.role == "admin"]
    with pytest.raises(ContractError, match="last admin"):
        people.disable(admin, "a test", NOW)
    assert people.set_role(admin, Role.ADMIN, "a test", NOW) == admin


def test_a_role_counts_from_the_next_request_on(engine: Engine, people: People) -> None:
    add_person(engine)
    add_person(engine, "Bob", Role.VIEWER)
    token = people.sign_in("Bob", PASSWORD, HERE, NOW)
    people.set_role("Bob", Role.OPERATOR, "a test", NOW)
    person = people.whose(token, NOW)
    assert person is not None
    assert person.role is Role.OPERATOR


def test_who_mistypes_waits_longer_each_time_and_is_let_in_in_the_end(engine: Engine, people: People) -> None:
    add_person(engine)
    at, waits = 0.0, []
    for _ in range(30):
        try:
            people.sign_in("Ada", "not it, not it", HERE, later(at))
        except WaitError as error:
            waits.append(error.seconds)
            with pytest.raises(WaitError):
                people.sign_in("Ada", PASSWORD, HERE, later(at))  # even the right one is not looked at
            at += error.seconds
        except WrongError:
            pass
    assert waits[:6] == [1, 2, 4, 8, 16, 32]
    assert max(waits) <= PAIR.most_s
    assert people.sign_in("Ada", PASSWORD, HERE, later(at + PAIR.most_s))


def test_a_hundred_tries_at_once_are_counted_one_by_one(engine: Engine, people: People) -> None:
    add_person(engine)

    def looked_at(_: int) -> bool:
        try:
            people.sign_in("Ada", "not it, not it", HERE, NOW)
        except WaitError:
            return False
        except WrongError:
            return True
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(looked_at, range(40))) == PAIR.free


def test_a_guesser_elsewhere_does_not_lock_out_who_was_here_before(engine: Engine, people: People) -> None:
    add_person(engine)
    people.sign_in("Ada", PASSWORD, HERE, NOW)
    for number in range(NAME.free + 10):
        try:
            people.sign_in("Ada", "not it, not it", Visit(f"198.51.100.{number}", "a robot"), NOW)
        except (WrongError, WaitError) as error:
            last = error
    assert isinstance(last, WaitError)
    assert last.seconds <= NAME.most_s
    assert people.sign_in("Ada", PASSWORD, HERE, NOW)
    with pytest.raises(WaitError):
        people.sign_in("Ada", PASSWORD, ELSEWHERE, NOW)
    assert people.sign_in("Ada", PASSWORD, ELSEWHERE, later(NAME.most_s))


def test_many_names_from_one_network_are_slowed_down_too(people: People) -> None:
    looked_at = 0
    for number in range(ADDRESS.free + 10):
        try:
            people.sign_in(f"name{number}", PASSWORD, Visit(f"2001:db8::{number:x}", "a robot"), NOW)
        except WrongError:
            looked_at += 1
        except WaitError:
            pass
    assert looked_at == ADDRESS.free
    assert Attempt.of("ada", "2001:db8:0:1::1").address != Attempt.of("ada", "2001:db8::1").address


def test_what_failed_yesterday_is_forgotten() -> None:
    tries = Tries(50, NOW, None)
    assert [PAIR.wait_s(tries, later(s)) for s in (0, 1, 899.5, 900, 90_000)] == [900, 899, 1, 0, 0]


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("elevensigns", "at least 12"),
        ("x" * 201, "at most 200"),
        ("Password1234", "commonest"),
        ("qwerty-uiop-123", "commonest"),
        ("aaaaaaaaaaaaaaaa", "repeats"),
        ("abcdabcdabcdabcd", "repeats"),
        ("lovelace1815", "more than the name"),
    ],
)
def test_a_password_that_would_be_guessed_first_is_refused(password: str, words: str) -> None:
    with pytest.raises(ContractError, match=words):
        require_good(password, "Lovelace")


@pytest.mark.parametrize(
    "password", ["a quiet lamp by the door", "пароль за дверью 7", "x7!Kd02m-pQ9v", "🦊🐻🐼🐨🐯🦁🐮🐷🐸🐵🐔🐧"]
)
def test_a_long_password_of_any_signs_is_fine(password: str) -> None:
    require_good(password, "Lovelace")
    assert QUICK.fits(QUICK.hash(password), password)


@pytest.mark.parametrize(
    "name", ["", " ", "a" * 61, "a\x00b", "a\nb", "a\u202eb", "<b>", "-a", "a  b", "a/b", "\u200bada"]
)
def test_a_name_that_is_not_what_it_seems_is_refused(name: str) -> None:
    with pytest.raises(ContractError):
        require_name(name)


def test_names_that_differ_in_case_or_width_alone_are_one() -> None:
    assert require_name(" Zoë O'Brien-Łuk ") == "Zoë O'Brien-Łuk"
    assert len({name_key(one) for one in ("Straße", "STRASSE", "strasse", "\uff33trasse")}) == 1
