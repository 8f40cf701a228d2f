// Charts by ECharts, in the colours of the theme, as wide as their place.

import {onTheme, seriesColors, token} from "./theme.js";

let loading;

// Loads ECharts once, when the first chart is wanted: it is the largest file of the console.
function library() {
  loading ??= new Promise((resolve, reject) => {
    const script = Object.assign(document.createElement("script"), {src: "/static/vendor/echarts.common.min.js"});
    script.onload = () => resolve(globalThis.echarts);
    script.onerror = () => {
      loading = undefined;
      reject(new Error("The chart could not be loaded. Does the console still run?"));
    };
    document.head.append(script);
  });
  return loading;
}

// Draws a chart into an element, which needs a height of its own, and returns {update(option), chart}. `option` is ECharts'
// option, or a function that returns it: it is asked again when the theme changes, so that it may use tokens. `label` says
// in words what the chart shows. `onClick(params)` is called for a click on a mark. It ends with `signal`.
export async function drawChart(element, {option, label, onClick, signal}) {
  const echarts = await library();
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", label);
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const chart = echarts.init(element, null, {renderer: "canvas"});
  let wanted = option;
  const draw = () => {
    if (signal?.aborted) return;
    const given = typeof wanted === "function" ? wanted() : wanted;
    chart.setOption({...base(), animation: !calm, ...styled(given)}, {notMerge: true});
  };
  draw();
  if (onClick) chart.on("click", onClick);
  const observer = new ResizeObserver(() => chart.resize());
  observer.observe(element);
  onTheme(draw, signal);
  const end = () => {
    observer.disconnect();
    chart.dispose();
  };
  if (signal?.aborted) end();
  else signal?.addEventListener("abort", end);
  return {
    chart,
    update(next) {
      wanted = next;
      draw();
    },
  };
}

// What all charts share. Tooltips are drawn on the canvas: the policy forbids styles in markup, and names are never markup.
function base() {
  return {
    color: seriesColors(),
    animationDuration: 300,
    animationDurationUpdate: 250,
    textStyle: {fontFamily: getComputedStyle(document.body).fontFamily, color: token("--ink-2"), fontSize: 12},
    grid: {left: 8, right: 12, top: 28, bottom: 8, containLabel: true},
  };
}

function styled(option) {
  const axis = {
    axisLine: {lineStyle: {color: token("--line-strong")}},
    axisTick: {lineStyle: {color: token("--line-strong")}},
    axisLabel: {color: token("--ink-2"), fontSize: 11},
    nameTextStyle: {color: token("--ink-2"), fontSize: 11},
    splitLine: {lineStyle: {color: token("--line")}},
  };
  const axes = (given) => (Array.isArray(given) ? given.map((each) => merged(axis, each)) : given && merged(axis, given));
  return {
    ...option,
    xAxis: axes(option.xAxis),
    yAxis: axes(option.yAxis),
    legend: option.legend && merged({textStyle: {color: token("--ink-2")}, icon: "roundRect", itemWidth: 12, itemHeight: 8, top: 0, inactiveColor: token("--line-strong")}, option.legend),
    tooltip: option.tooltip && merged(
      {
        renderMode: "richText",
        confine: true,
        backgroundColor: token("--surface"),
        borderColor: token("--line-strong"),
        borderWidth: 1,
        textStyle: {color: token("--ink"), fontSize: 12},
        axisPointer: {lineStyle: {color: token("--line-strong")}, shadowStyle: {color: token("--hover")}},
      },
      option.tooltip,
    ),
  };
}

// Returns `over` laid over `under`, object by object.
function merged(under, over) {
  const result = {...under, ...over};
  for (const [name, value] of Object.entries(under)) {
    if (isObject(value) && isObject(over[name])) result[name] = merged(value, over[name]);
  }
  return result;
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
