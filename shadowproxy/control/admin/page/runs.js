// Experiments and rollouts: what is under way, for whom, how it stands, and the latest that have ended.

import { count, duration, listed, row } from "./text.js";

const ENDED_SHOWN = 5;
const OVER = new Set(["completed", "aborted", "expired", "killed", "rolled_back"]);
const BAD = new Set(["aborted", "expired", "killed", "rolled_back"]);

const words = (text) => text.replaceAll("_", " ");
const percent = (value) => `${Number(value.toPrecision(4))} %`;

// All that is under way, and the newest of what is over: lists come the newest first.
function chosen(all) {
  const open = all.filter((one) => !OVER.has(one.state));
  return [...open, ...all.filter((one) => OVER.has(one.state)).slice(0, ENDED_SHOWN)];
}

function experiments(body, runs, now) {
  for (const run of runs) {
    const since = run.started === null ? "–" : duration((run.ended ?? now) - run.started);
    const said = OVER.has(run.state) && run.reason ? `${run.sentence} (${run.reason})` : run.sentence;
    const made = row(body, run.id, [words(run.state) + (run.is_dry ? ", dry" : ""), percent(run.percent), count(run.units), since, run.verdict ?? "–", said]);
    if (BAD.has(run.state)) made.className = "bad";
  }
}

function rollouts(body, found) {
  for (const one of found) {
    const units = one.affected.units;
    const made = row(body, one.route, [`${one.live} → ${one.to}`, words(one.state), percent(one.percent), units === null ? "–" : count(units), one.problem ?? one.reason]);
    if (BAD.has(one.state)) made.className = "bad";
  }
}

// Fills `made`, a copy of the template of runs; null when there is neither an experiment nor a rollout that has begun.
export function tellRuns(made, listedRuns, listedRollouts) {
  const part = (name) => made.querySelector(`[data-at="${name}"]`);
  const runs = chosen(listedRuns.experiments);
  const begun = listedRollouts.rollouts.filter((one) => one.state !== "idle");
  const isUp = listedRuns.journal.is_up;
  if (!runs.length && !begun.length && isUp) return null;
  listed(part("alarms"), isUp ? [] : [`The journal does not work, so no experiment begins: ${listedRuns.journal.problem}`], null);
  experiments(part("experiments"), runs, Date.now() / 1000);
  rollouts(part("rollouts"), begun);
  part("experiments").parentElement.hidden = !runs.length;
  part("rollouts").parentElement.hidden = !begun.length;
  const commands = runs.slice(0, 1).flatMap((run) => (OVER.has(run.state) ? [] : [`shadowproxy experiment stop ${run.id}`]).concat(`shadowproxy experiment report ${run.id} --out report.html`));
  if (begun.length) commands.push(`shadowproxy rollout status ${begun[0].route}`);
  listed(part("commands"), [...commands, "shadowproxy whois USER"], "code");
  return made;
}
