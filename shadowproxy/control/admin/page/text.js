// Numbers as people read them, and table cells. Everything from the proxy is set as text, never as markup: it can hold what strangers sent.

export function cell(row, text, kind = "td") {
  const made = document.createElement(kind);
  made.textContent = text;
  if (kind === "th") made.scope = "row";
  row.append(made);
  return made;
}

export function row(body, head, values) {
  const made = document.createElement("tr");
  cell(made, head, "th");
  for (const value of values) cell(made, value);
  body.append(made);
  return made;
}

// Items of a list, each in an element of its own when `kind` names one.
export function listed(list, texts, kind) {
  for (const text of texts) {
    const item = document.createElement("li");
    const inner = kind === null ? item : item.appendChild(document.createElement(kind));
    inner.textContent = text;
    list.append(item);
  }
}

export const ms = (seconds) => (seconds === null ? "–" : (seconds * 1000).toFixed(seconds < 0.1 ? 2 : 0));
export const share = (value) => (value === null ? "–" : (value * 100).toFixed(value < 0.01 ? 3 : 1) + " %");
export const count = (value) => value.toLocaleString("en");

// Two significant digits: what is an estimate must not look like a measurement.
export const about = (value) => count(Number(value.toPrecision(2)));

const signed = (value, digits) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);

// Both ends of an interval; an end that is not known yet is null.
function span(interval, show) {
  const [low, high] = interval ?? [null, null];
  return low === null && high === null ? "not known yet" : `${low === null ? "…" : show(low)} to ${high === null ? "…" : show(high)}`;
}

export const points = (value) => (value === null ? "–" : signed(value * 100, 2));
export const pointSpan = (interval) => span(interval, points);
export const times = (ratio) => (ratio === null ? "–" : ratio.toFixed(3));
export const timesSpan = (interval) => span(interval, times);

export function duration(seconds) {
  for (const [unit, name] of [[86400, "d"], [3600, "h"], [60, "min"]]) if (seconds >= unit * 2) return `${Math.round(seconds / unit)} ${name}`;
  return `${Math.max(1, Math.round(seconds))} s`;
}

export function size(bytes) {
  for (const [unit, name] of [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) if (bytes >= unit) return `${(bytes / unit).toFixed(1)} ${name}`;
  return `${bytes} B`;
}
