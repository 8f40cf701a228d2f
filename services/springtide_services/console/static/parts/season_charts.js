// Charts of demand over the year, the week and the day: how far it is above and below what is usual, and the interactions
// behind that.

export const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const PARTS = 6;  // Points of a month.
const LEAST = 1 / 16;  // What is lower is drawn as this: nothing at all has no place on a scale of doublings.

export const SPANS = {
  year: {title: "Over the year", of: "month", words: pointOfYear, short: (at) => (at % PARTS === 0 ? MONTHS[at / PARTS] : "")},
  week: {title: "Over the week", of: "day", words: (at) => DAYS[at], short: (at) => DAYS[at].slice(0, 3)},
  day: {title: "Over the day", of: "hour", words: (at) => `${String(at).padStart(2, "0")}:00 to ${String(at + 1).padStart(2, "0")}:00`, short: (at) => (at % 3 === 0 ? String(at).padStart(2, "0") : "")},
};

// Returns how much it is, in words: `3.2 times the usual`, `40 % of the usual`.
export function liftWords(lift) {
  if (lift >= 0.95 && lift <= 1.05) return "as usual";
  if (lift > 1) return `${lift >= 10 ? Math.round(lift) : Number(lift.toFixed(1))} times the usual`;
  return `${Math.round(lift * 100)} % of the usual`;
}

// Returns a lift in short: `3.2×`.
export function liftShort(lift) {
  return `${lift >= 10 ? Math.round(lift) : lift.toFixed(lift < 0.1 ? 2 : 1)}×`;
}

// Returns when it is highest and lowest, in a sentence.
export function profileWords({span, lifts = []}) {
  const highest = Math.max(...lifts);
  const lowest = Math.min(...lifts);
  if (highest < 1.05 && lowest > 0.95) return `The same all over the ${span}.`;
  const {words} = SPANS[span];
  return `Highest ${on(span, words(lifts.indexOf(highest)))}: ${liftWords(highest)}. Lowest ${on(span, words(lifts.indexOf(lowest)))}: ${liftWords(lowest)}.`;
}

// Returns the index of the point of a span that a moment (in UTC) lies in.
export function pointAt(span, moment) {
  if (span === "week") return (moment.getUTCDay() + 6) % 7;
  if (span === "day") return moment.getUTCHours();
  const length = new Date(Date.UTC(moment.getUTCFullYear(), moment.getUTCMonth() + 1, 0)).getUTCDate();
  return moment.getUTCMonth() * PARTS + Math.min(PARTS - 1, Math.floor(((moment.getUTCDate() - 1) / length) * PARTS));
}

// Returns the options of a profile's chart: bars from the usual up and down in doublings; below, the interactions.
export function profileOptions({span, lifts = [], counts = []}, {colors, moment}) {
  const {words, short} = SPANS[span];
  const marked = moment ? pointAt(span, moment) : -1;
  const heights = lifts.map((lift) => Math.log2(Math.max(LEAST, lift)));
  const [highest, lowest] = [Math.max(1, ...heights), Math.min(-1, ...heights)];
  const step = Math.max(1, Math.ceil((highest - lowest) / 5));  // Doublings between two lines.
  const [reach, depth] = [Math.ceil(highest / step) * step, Math.floor(lowest / step) * step];
  const numbers = counts.map(Number);
  const labels = lifts.map((_, at) => words(at));
  const isLabelled = (at) => short(at) !== "";
  const hasCounts = numbers.some((count) => count > 0);
  return {
    grid: hasCounts ? [{left: 44, right: 12, top: 10, bottom: 74}, {left: 44, right: 12, height: 34, bottom: 24}] : [{left: 44, right: 12, top: 10, bottom: 24}],
    tooltip: {
      trigger: "axis",
      axisPointer: {type: "shadow"},
      formatter: ([{dataIndex}]) => `${labels[dataIndex]}\n${liftWords(lifts[dataIndex])}${hasCounts ? `\n${numbers[dataIndex].toLocaleString("en")} interactions` : ""}`,
    },
    axisPointer: hasCounts ? {link: [{xAxisIndex: "all"}]} : undefined,
    xAxis: [
      {type: "category", data: labels, axisTick: {show: false}, axisLabel: {show: !hasCounts, hideOverlap: true, interval: isLabelled, formatter: (_, at) => short(at)}, axisLine: {show: true, onZero: true}},
      ...(hasCounts ? [{type: "category", gridIndex: 1, data: labels, axisTick: {show: false}, axisLine: {show: false}, axisLabel: {hideOverlap: true, interval: isLabelled, formatter: (_, at) => short(at)}}] : []),
    ],
    yAxis: [
      {type: "value", min: depth, max: reach, interval: step, axisLabel: {formatter: doubling}},
      ...(hasCounts ? [{type: "value", gridIndex: 1, axisLabel: {show: false}, splitLine: {show: false}}] : []),
    ],
    series: [
      {
        type: "bar",
        name: "lift",
        barCategoryGap: span === "year" ? "12%" : "30%",
        data: heights.map((height, at) => ({value: height, itemStyle: {color: height >= 0 ? colors.above : colors.below, opacity: marked < 0 || marked === at ? 1 : 0.62, borderRadius: height >= 0 ? [2, 2, 0, 0] : [0, 0, 2, 2]}})),
      },
      ...(hasCounts ? [{type: "bar", name: "interactions", xAxisIndex: 1, yAxisIndex: 1, barCategoryGap: span === "year" ? "12%" : "30%", itemStyle: {color: colors.counts}, data: numbers}] : []),
    ],
  };
}

function doubling(height) {
  if (height === 0) return "usual";
  return height > 0 ? `${2 ** height}×` : `1/${2 ** -height}×`;
}

function pointOfYear(at) {
  const part = at % PARTS;
  const from = Math.floor((part * 30) / PARTS) + 1;
  const until = part === PARTS - 1 ? "end" : String(Math.floor(((part + 1) * 30) / PARTS));
  return `${MONTHS[Math.floor(at / PARTS)]} ${from} to ${until}`;
}

function on(span, words) {
  if (span === "week") return `on ${words}s`;
  if (span === "day") return `from ${words}`;
  return `in ${words}`;
}
