// The first page: kept current, its chart drawn anew with every change.
import { drawChart } from "/static/chart.js";
import { keepCurrent } from "/static/live.js";

keepCurrent(drawChart);
drawChart();
