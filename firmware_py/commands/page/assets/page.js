"use strict";
// What the box is told is a word and a small JSON object; what it tells comes as server-sent events.
const $ = (id) => document.getElementById(id);
const WINDOW_S = 600;
const MOODS = ["valence", "arousal"];
const CURVES = [["heard", "#0072b2", []], ["asked", "#d55e00", [7, 4]], ["played", "#111111", [2, 3]]];
const KNOBS = [
  ["volume_db", "Volume", 1, "dB"], ["loudest", "Not louder than", 1, ""], ["valence", "Brighter", 0.05, ""],
  ["arousal", "More energy", 0.05, ""], ["density", "More notes", 0.05, ""], ["dry_wet", "Voice", 0.05, ""],
];
const past = [];
let seen = {}, may = false, held = {}, events = null, isFirst = true;

function tell(text, isFault) {
  $("said").textContent = text;
  $("said").classList.toggle("fault", Boolean(isFault));
}

async function ask(word, values) {
  try {
    const answer = await fetch(word, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(values || {}),
    });
    const said = answer.status === 204 ? {} : await answer.json().catch(() => ({}));
    if (!answer.ok && said.fault) tell(said.fault, true);
    return [answer.status, said];
  } catch (error) {
    tell("the box does not answer: is the cable in?", true);
    return [0, {}];
  }
}

async function press(word, values, done) {
  const [status, said] = await ask(word, values);
  if (status === 200) tell(done || Object.values(said).filter((v) => typeof v === "string").join(", "));
  return status === 200;
}

// --- curves ---------------------------------------------------------------------------
function keep() {
  if (!seen.heard || seen.box !== "on") return;
  const last = past[past.length - 1];
  if (last && seen.time_s < last.time_s) past.length = 0;  // the box began anew
  if (last && seen.time_s - last.time_s < 0.9) return;
  past.push({ time_s: seen.time_s, heard: seen.heard, asked: seen.asked, played: seen.played });
  while (past.length && past[0].time_s < seen.time_s - WINDOW_S) past.shift();
}

function draw(name) {
  const canvas = $(name), scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight, left = 26, bottom = 16;
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = "12px system-ui,sans-serif";
  const now_s = past.length ? past[past.length - 1].time_s : 0;
  const x = (time_s) => width - 4 - (width - left - 4) * (now_s - time_s) / WINDOW_S;
  const y = (value) => 6 + (height - bottom - 12) * (1 - value) / 2;
  pen.setLineDash([]);
  pen.lineWidth = 1;
  pen.fillStyle = "#333";
  for (const value of [-1, 0, 1]) {
    pen.strokeStyle = value ? "#ddd" : "#999";
    pen.beginPath(); pen.moveTo(left, y(value)); pen.lineTo(width - 4, y(value)); pen.stroke();
    pen.fillText(value > 0 ? "+1" : String(value), 2, y(value) + 4);
  }
  for (const minutes of [10, 5, 0]) {
    const text = minutes ? `${minutes} min ago` : "now", wide = pen.measureText(text).width;
    pen.fillText(text, Math.min(Math.max(left, x(now_s - 60 * minutes) - wide / 2), width - wide - 2), height - 4);
  }
  for (const [kind, colour, dashes] of CURVES) {
    pen.strokeStyle = colour; pen.lineWidth = 2; pen.setLineDash(dashes);
    pen.beginPath();
    let isDown = false;
    for (const point of past) {
      const value = point[kind] ? point[kind][name] : null;
      if (value === null || value === undefined) { isDown = false; continue; }
      if (isDown) pen.lineTo(x(point.time_s), y(value)); else pen.moveTo(x(point.time_s), y(value));
      isDown = true;
    }
    pen.stroke();
  }
  const told = CURVES.map(([kind]) => [kind, seen[kind] ? seen[kind][name] : null])
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([kind, value]) => `${kind} ${value.toFixed(2)}`);
  $(`${name}-now`).textContent = told.length ? `Now ${told.join(", ")}.` : "";
}

// --- the state ------------------------------------------------------------------------
function time(seconds) { return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`; }

function show() {
  const session = seen.session || {}, knobs = seen.knobs || {};
  may = Boolean(seen.may);
  for (const part of document.querySelectorAll("fieldset.locked")) part.disabled = !may;
  $("unlock").hidden = may;
  $("leave").hidden = !may;
  const states = { stopped: "The box does not run.", starting: "The box starts.", on: "The box listens." };
  const plays = seen.notes && seen.notes.sounding.length > 0;
  $("state").textContent = seen.panic ? "Silent, until somebody lets it go on."
    : seen.box === "on" && plays ? "The box plays." : states[seen.box] || "…";
  $("panic").textContent = seen.panic ? "Go on" : "Silence now";
  $("panic").classList.toggle("on", Boolean(seen.panic));
  $("panic").disabled = Boolean(seen.panic) && !may;
  const words = [session.number ? `Session ${session.number} is on` : `No session: ${(session.session || "").replace("none; ", "")}`];
  if (session.name) words.push(session.name);
  if (session.programme) words.push(`programme ${session.programme}`);
  if (session.phase) words.push(`phase ${session.phase}`);
  if (session.programme_left_s !== undefined) words.push(`${time(session.programme_left_s)} left`);
  $("session").textContent = `${words.join("; ")}.`;
  for (const [name] of KNOBS) if (knobs[name] !== undefined) turned(name, knobs[name]);
  if (knobs.mute !== undefined && !held.mute) $("mute").checked = Boolean(knobs.mute);
  const faults = Object.entries(seen.faults || {}).map(([name, n]) => `${name} ${n}`);
  $("faults").textContent = faults.length ? `Counted faults: ${faults.join(", ")}.` : "";
  keep();
  MOODS.forEach(draw);
}

function turned(name, value) {
  const slider = $(`knob-${name}`);
  if (!slider || held[name]) return;
  slider.value = name === "loudest" && !value ? 127 : value;
  label(name);
}

function label(name) {
  const [, , step, unit] = KNOBS.find((knob) => knob[0] === name), value = Number($(`knob-${name}`).value);
  $(`of-${name}`).textContent = `${step < 1 ? value.toFixed(2) : value} ${unit}`.trim();
}

// A knob under a hand is not moved by what the box tells, until a second after it was let go.
function hold(name) {
  clearTimeout(held[name]);
  held[name] = setTimeout(() => { delete held[name]; }, 1000);
}

const waiting = {};
function turn(name, value) {
  hold(name);
  const isSent = waiting[name] !== undefined;
  waiting[name] = value;
  if (!isSent) setTimeout(() => { const last = waiting[name]; delete waiting[name]; ask("turn", { knob: name, value: last }); }, 80);
}

function addKnob([name, title, step, unit], [low, high]) {
  const row = document.createElement("div"), text = document.createElement("label");
  const slider = document.createElement("input"), value = document.createElement("output");
  row.className = "knob";
  text.textContent = title; text.htmlFor = `knob-${name}`;
  Object.assign(slider, { id: `knob-${name}`, type: "range", min: low, max: high, step: step });
  value.id = `of-${name}`;
  slider.addEventListener("input", () => { label(name); turn(name, Number(slider.value)); });
  row.append(text, slider, value);
  $("knobs").append(row);
}

// --- sessions kept --------------------------------------------------------------------
function link(text, href) {
  const anchor = document.createElement("a");
  Object.assign(anchor, { textContent: text, href: href });
  if (text === "report") anchor.target = "_blank";
  return anchor;
}

async function list() {
  const answer = await fetch("sessions").catch(() => null);
  if (!answer || !answer.ok) { tell("the sessions cannot be shown", true); return; }
  const rows = (await answer.json()).map((kept) => {
    const row = document.createElement("tr"), last = document.createElement("td");
    for (const text of [kept.begin, time(kept.seconds), kept.programme]) {
      const cell = document.createElement("td");
      cell.textContent = text;
      row.append(cell);
    }
    const name = encodeURIComponent(kept.name);
    last.append(link("report", `sessions/${name}/report`), link("files", `sessions/${name}/export`));
    row.append(last);
    return row;
  });
  $("sessions").tBodies[0].replaceChildren(...rows);
  $("sessions").hidden = !rows.length;
  tell(rows.length ? "" : "No session is kept.");
}

// --- hands ----------------------------------------------------------------------------
$("panic").addEventListener("click", () => press(seen.panic ? "resume" : "panic"));
$("pin-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [status, said] = await ask("pin", { pin: $("pin").value.trim() });
  $("pin").value = "";
  if (status === 204) { watch(); tell("You may change things from this browser, for twelve hours."); }
  else if (status === 429) tell(`Too many wrong PINs: wait ${time(said.wait_s)}.`, true);
  else if (status === 403) tell(`That is not the PIN; ${said.n_left} more ${said.n_left === 1 ? "try" : "tries"}.`, true);
});
$("start").addEventListener("click", () =>
  press("start", { programme: $("programme").value, name: $("name").value.trim(), note: $("note").value.trim() }));
$("stop").addEventListener("click", () => press("stop"));
$("choose").addEventListener("click", () =>
  press("programme", { programme: $("programme").value }, `The programme is ${$("programme").value} now.`));
$("mark").addEventListener("click", async () => {
  if (await press("mark", { text: $("mark-text").value.trim() }, "Marked.")) $("mark-text").value = "";
});
$("mute").addEventListener("change", () => turn("mute", $("mute").checked ? 1 : 0));
$("list").addEventListener("click", list);
$("leave").addEventListener("click", async () => { await ask("leave"); watch(); });
window.addEventListener("resize", () => MOODS.forEach(draw));

async function begin() {
  const box = await (await fetch("box")).json();
  for (const name of box.programmes) $("programme").append(new Option(name, name));
  for (const knob of KNOBS) addKnob(knob, box.knobs[knob[0]]);
  for (const [id, field] of [["name", "name"], ["note", "note"], ["mark-text", "text"]]) $(id).maxLength = box.lengths[field];
  watch();
}

// Opened anew after the PIN: who asks is known when a stream begins.
function watch() {
  if (events) events.close();
  events = new EventSource("events");
  events.onmessage = (event) => {
    seen = JSON.parse(event.data);
    if (isFirst && seen.session && seen.session.programme) { $("programme").value = seen.session.programme; isFirst = false; }
    show();
  };
  events.onerror = () => { seen = { ...seen, box: "stopped" }; $("state").textContent = "No connection to the box."; };
}
begin().catch(() => tell("the box does not answer: is the cable in?", true));
