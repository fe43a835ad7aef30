// The doors' health: kept current; everything else works without a script.
import { keepCurrent } from "/static/live.js";

keepCurrent();
