// The live page: takes sections from the event stream and draws the curves.
// Sections arrive escaped by the server. Nothing here makes markup of text.
"use strict";

const SILENT_MS = 3000; // the service sends something every second
const BROKEN_MS = 900; // a stream that broke is tried again at once
const page = document.querySelector("main[data-stream]");
const lost = document.getElementById("lost");
let heard = Date.now();
let broken = 0; // when the stream broke; 0 while it is whole
let clock = 0; // server's clock minus ours, in ms
let charts = [];

function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 172800) return `${Math.floor(whole / 3600)} h ${Math.floor(whole % 3600 / 60)} min`;
  return `${Math.floor(whole / 86400)} d`;
}

function tick() {
  for (const time of document.querySelectorAll("time[data-since]")) {
    const text = duration((Date.now() + clock - Date.parse(time.dateTime)) / 1000);
    if (time.textContent !== text) time.textContent = text;
  }
  const quiet = Date.now() - heard;
  lost.hidden = !page || (quiet < SILENT_MS && !(broken && Date.now() - broken > BROKEN_MS));
  document.body.classList.toggle("stale", !lost.hidden);
  if (!lost.hidden) lost.textContent =
    `No word from the service for ${duration(quiet / 1000)}: what is below is as it was then.`;
}

function replace(id, html) {
  const old = document.getElementById(id);
  if (!old) return;
  const open = [...old.querySelectorAll("details[open]")].map((d) => d.id).filter(Boolean);
  const log = old.querySelector(".log");
  const away = log && log.scrollTop + log.clientHeight < log.scrollHeight - 8 ? log.scrollTop : null;
  const sideways = [...old.querySelectorAll(".wide")].map((e) => e.scrollLeft);
  const held = old.contains(document.activeElement) ? document.activeElement : null;
  const again = held && (held.id ? `#${CSS.escape(held.id)}`
    : held.getAttribute("href") ? `a[href="${CSS.escape(held.getAttribute("href"))}"]` : null);
  old.innerHTML = html;
  for (const name of open) { const d = document.getElementById(name); if (d) d.open = true; }
  old.querySelectorAll(".wide").forEach((e, i) => { e.scrollLeft = sideways[i] || 0; });
  settle(old, away);
  if (again) { const next = old.querySelector(again); if (next) next.focus({ preventScroll: true }); }
}

function settle(part, away) {
  const log = part.querySelector(".log");
  if (log) log.scrollTop = away === null || away === undefined ? log.scrollHeight : away;
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// A line that has no value at the cursor shows the one before: held-out rows are asked seldom.
function shown(u, value, line, at) {
  const known = u.data[line];
  for (let i = at === null ? known.length - 1 : at; i >= 0; i--)
    if (known[i] !== null && known[i] !== undefined) return known[i].toPrecision(3);
  return "-";
}

function draw(curves) {
  for (const chart of charts) chart.destroy();
  charts = [];
  for (const box of document.querySelectorAll("[data-curve]")) {
    const curve = curves[box.dataset.curve];
    box.replaceChildren();
    box.closest("figure").hidden = !curve || !curve.x.length;
    document.getElementById("no-curves").hidden = Object.keys(curves).length > 0;
    if (!curve || !curve.x.length) continue;
    const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 },
      ticks: { show: false }, font: "12px system-ui" };
    const lines = curve.lines.map((line, i) => ({ label: line.label, value: shown,
      width: i === curve.lines.length - 1 ? 2 : 1.1, spanGaps: true,
      stroke: colour(i === curve.lines.length - 1 ? "--candidate" : "--base"),
      points: { show: line.y.filter((y) => y !== null).length < 40, size: 5 } }));
    const chart = new uPlot({
      hooks: { ready: [(u) => u.setLegend({ idx: curve.x.length - 1 })] },
      width: Math.max(240, box.clientWidth), height: 220, cursor: { y: false },
      scales: { x: { time: false }, y: { range: (u, low, high) => {
        const room = (high - low || Math.abs(high) || 1) * 0.08;
        return [curve.floor === null ? low - room : Math.min(curve.floor, low),
          curve.ceiling === null ? high + room : curve.ceiling]; } } },
      series: [{ label: curve.unit }, ...lines],
      axes: [{ ...axis, size: 32, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 50000] }, { ...axis, size: 48 }],
    }, [curve.x, ...curve.lines.map((line) => line.y)], box);
    charts.push(chart);
  }
}

let curves = {};
function curvesFrom(text) {
  try { curves = JSON.parse(text); } catch { curves = {}; }
  if (window.uPlot) draw(curves);
}

function listen() {
  const source = new EventSource(page.dataset.stream);
  const hear = (event) => {
    heard = Date.now();
    broken = 0;
    const said = JSON.parse(event.data);
    clock = Date.parse(said.now) - heard;
    for (const [id, html] of Object.entries(said.sections || {})) replace(id, html);
    if (said.curves) curvesFrom(said.curves);
    if (said.title && document.title !== said.title) document.title = said.title;
    tick();
    page.dataset.heard = said.now;
  };
  source.addEventListener("live", hear);
  source.addEventListener("error", () => { broken = broken || Date.now(); });
}

const first = document.getElementById("curves-data");
if (first) curvesFrom(first.textContent);
settle(document, null);
if (page) listen();
setInterval(tick, 1000);
let resizing = 0;
addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(() => draw(curves), 150); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(curves));
