// What a false-alarm rate means for p-values, in numbers and in words.

/** Every false-alarm rate that n held-out normals can stand for, up to one half, on about 100 steps. */
export function attainable(n) {
  const most = Math.floor((n + 1) / 2);
  const counts = new Set();
  for (let step = 0; step <= 100; step++) counts.add(Math.round(most ** (step / 100)));
  return [...counts].filter((count) => count >= 1).map((count) => count / (n + 1));
}

/** The rates, with the detector's own asked rate among them, and where it stands. */
export function steps(n, asked) {
  const own = ownRate(n, asked);
  const rates = [...new Set([...attainable(n), own])].sort((a, b) => a - b);
  return { rates, place: rates.indexOf(own) };
}

/** The largest k / (n + 1) that is at most the asked rate: by it the service decides. */
function ownRate(n, asked) {
  let count = Math.floor(asked * (n + 1));
  while ((count + 1) / (n + 1) <= asked) count++;
  while (count / (n + 1) > asked) count--;
  return count / (n + 1);
}

export function isNovel(item, rate) {
  return item.p !== null && rate !== null ? item.p <= rate : null;
}

export function percent(share) {
  const value = 100 * share;
  return `${value >= 10 ? value.toFixed(0) : Number(value.toPrecision(2))} %`;
}

export function oneIn(rate) {
  return `about 1 in ${Math.max(2, Math.round(1 / rate)).toLocaleString("en")}`;
}

export function inWords(item, n) {
  if (item.p === null) return "The detector has no threshold: it was fitted without held-out normals.";
  const atLeast = Math.round(item.p * (n + 1)) - 1;
  const others = atLeast === 0 ? "None" : atLeast.toLocaleString("en");
  const verb = atLeast === 1 ? "is" : "are";
  return `${others} of the ${n.toLocaleString("en")} normal images kept aside ${verb} at least this unusual `
    + `(p ${short(item.p)}, novelty ${short(item.novelty)}).`;
}

export function short(value) {
  return String(Number(value.toPrecision(3)));
}

const PICKED = { false_alarm: "yes", true_alarm: "no" };

/** The columns of `novanda score`, then what a person said, as `novanda calibrate --confirm` reads it. */
export function csv(items, rate) {
  const rows = [["path", "novelty", "p_value", "is_novel", "error", "false_alarm"]];
  for (const item of items) {
    const novel = isNovel(item, rate);
    rows.push([item.path, item.novelty ?? "", item.p ?? "", novel ?? "", item.error ? item.error.got : "", PICKED[item.verdict] ?? ""]);
  }
  return rows.map((row) => row.map(quoted).join(",")).join("\n") + "\n";
}

function quoted(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
