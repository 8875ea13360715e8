// The verdict on one mirror: what it says and why, how far it is from being decided, and the intervals behind it.

import { about, count, duration, listed, points, pointSpan, row, share, times, timesSpan } from "./text.js";

export const WORST_FIRST = ["INVALID", "REGRESSION", "UNDECIDED", "SAFE"];
const FIELDS_SHOWN = 5;

function progress(verdict) {
  const seen = `${count(verdict.pairs)} pairs compared with ${verdict.baseline}` + (verdict.epoch > 1 ? `, epoch ${verdict.epoch}` : "");
  const needs = verdict.needs;
  if (needs === null || needs.more_pairs === null) return seen;
  const time = needs.seconds === null ? "" : `, ${duration(needs.seconds)} at the present rate`;
  return `${seen}; about ${about(needs.more_pairs)} more for a verdict${time}`;
}

function intervals(body, verdict) {
  const { errors, latency } = verdict;
  row(body, "errors, in points", [share(errors.live_rate), share(errors.shadow_rate), points(errors.difference), pointSpan(errors.interval)]);
  row(body, "latency, ratio", ["1", times(latency.ratio), latency.ratio === null ? "–" : points(latency.ratio - 1) + " %", timesSpan(latency.interval)]);
  for (const slo of verdict.slo) {
    const values = [`${count(slo.live_only)} alone`, `${count(slo.shadow_only)} alone`, "", pointSpan(slo.interval)];
    row(body, `over ${slo.threshold_seconds} s, in points`, values);
  }
}

function remarks(verdict) {
  const found = verdict.reasons.filter((reason) => !verdict.summary.includes(reason));
  const fields = verdict.fields.filter((field) => field.is_reported);
  for (const field of fields.slice(0, FIELDS_SHOWN)) found.push(`${field.path}: ${field.why}`);
  if (fields.length > FIELDS_SHOWN) found.push(`and ${count(fields.length - FIELDS_SHOWN)} more fields`);
  const builds = Object.entries(verdict.revisions).filter(([, names]) => names.length);
  if (builds.length) found.push("builds: " + builds.map(([role, names]) => `${role} ${names.join(", ")}`).join("; "));
  if (verdict.previous) found.push(`before, in epoch ${verdict.previous.epoch}, ${verdict.previous.verdict}: ${verdict.previous.summary}`);
  return found;
}

function commands(verdict) {
  const one = `--route ${verdict.route} --mirror ${verdict.mirror}`;
  const found = [`shadowproxy verdict ${one}`, `shadowproxy report ${one}`];
  if (verdict.exemplars.length) found.push(`shadowproxy diff show ${verdict.exemplars[0]}`);
  return found;
}

// Fills the part of a mirror's article that is for its verdict. `part` finds an element of the article by its data-at.
export function tell(part, verdict) {
  part("verdict").hidden = false;
  part("outcome").textContent = verdict.verdict;
  part("outcome").dataset.outcome = verdict.verdict;
  part("sentence").textContent = verdict.summary;
  part("progress").textContent = progress(verdict);
  const more = verdict.needs?.more_pairs ?? null;
  part("bar").hidden = more === null;
  if (more !== null) part("bar").value = verdict.pairs / (verdict.pairs + more);
  part("confidence").textContent = `The same requests to both; ${+((1 - verdict.alpha) * 100).toFixed(1)} % intervals`;
  part("baseline").textContent = verdict.baseline;
  intervals(part("intervals"), verdict);
  listed(part("remarks"), remarks(verdict), null);
  listed(part("commands"), commands(verdict), "code");
}
