// Sparklines: the last minutes of a figure, as a small line without axes.

import {html, svg} from "../vendor/lit-html.js";

const [WIDTH, HEIGHT] = [240, 44];

// Draws points {timeMs, value} over the last `spanMs`; `floor` is the least that the top of the scale stands for, so that
// noise around 0 is not drawn large. `label` says in words what it shows.
export function sparkline(points, {spanMs = 300_000, floor = 1, label, untilMs = points.at(-1)?.timeMs}) {
  const shown = points.filter(({timeMs, value}) => timeMs >= untilMs - spanMs && value !== null);
  const top = Math.max(floor, ...shown.map(({value}) => value)) * 1.08;
  const x = (timeMs) => (WIDTH * (1 - (untilMs - timeMs) / spanMs)).toFixed(1);
  const y = (value) => (HEIGHT - 2 - ((HEIGHT - 6) * value) / top).toFixed(1);
  const line = shown.map(({timeMs, value}) => `${x(timeMs)},${y(value)}`).join(" ");
  return html`<svg class="sparkline" viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label=${label}>
    ${shown.length < 2 ? "" : svg`<polygon class="spark-area" points="${x(shown[0].timeMs)},${HEIGHT} ${line} ${x(shown.at(-1).timeMs)},${HEIGHT}"/>
    <polyline class="spark-line" points=${line} vector-effect="non-scaling-stroke"/>`}
  </svg>`;
}

// Returns the rate per second of a counter in samples, over a window that ends at each of them. A counter that begins anew,
// since the server was started again, gives no rate there.
export function rates(samples, name, windowMs = 5000) {
  const points = [];
  let from = 0;
  samples.forEach((sample, at) => {
    while (from < at && sample.timeMs - samples[from].timeMs > windowMs) from += 1;
    const first = samples[from];
    const spanS = (sample.timeMs - first.timeMs) / 1000;
    if (spanS <= 0 || first[name] === null || sample[name] === null) return;
    const grown = sample[name] - first[name];
    points.push({timeMs: sample.timeMs, value: grown < 0 ? null : grown / spanS});
  });
  return points;
}
