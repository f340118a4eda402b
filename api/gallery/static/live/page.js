// The page of live activations: a loop of one frame at a time, and what buttons, keys and the pointer change.

import { drawBars, drawFlat, drawGrid, drawOver, fit } from "./draw.js";
import { bindKeys } from "./keys.js";
import { getJson, Session } from "./session.js";
import { Camera, frameOf, sourceOf } from "./sources.js";
import { fromAddress, toAddress, viewOf } from "./state.js";
import { sayGrown, showUnit, tilePictures } from "./panel.js";

const $ = (selector) => document.querySelector(selector);
const KEEP_SECONDS = 5; // a frame that stands still is sent again, or the session would end
const GROWTH_SECONDS = 0.2; // it is sent again sooner while something grows
const RETRY_SECONDS = 0.5;
const WIDE_STEP = 8;
const GAMMAS = [1, 0.7, 0.5, 0.3, 2];
const CHANNELS = [0, 0.5, 1];
const BACKWARDS = ["", "gradient", "deconvolution", "guided"];
const SHOWN_AS = ["gray", "raw", "norm", "blurred"];

const state = fromAddress();
const session = new Session();
const canvas = document.createElement("canvas"); // of the frame that is sent
let network = null;
let sources = [];
let source = null;
let turned = 0; // which of the sources is on, or could not be opened
let frozen = null; // the frame that stands still, as it was sent
let place = null; // where the grid's tiles are
let pictureOf = null;
let growing = false; // whether the unit's preferred picture is made before our eyes
let turn = () => undefined; // wakes the loop

// --- what is looked at -------------------------------------------------------------------

const layerNow = () => network?.layers.find((layer) => layer.name === state.layer);

function say(words, bad = false) {
  $("#said").textContent = words;
  $("#said").classList.toggle("bad", bad);
}

function change(news) {
  const before = { ...state };
  Object.assign(state, news);
  const layer = layerNow();
  if (layer) state.unit = Math.min(state.unit, layer.units - 1);
  history.replaceState(null, "", toAddress(state));
  dress();
  const elsewhere = state.layer !== before.layer || state.network !== before.network;
  if (elsewhere || state.pictures !== before.pictures) showPictures();
  if (elsewhere || state.unit !== before.unit || state.grow !== before.grow) showUnit(state, grow);
  turn();
}

function grow(wanted) {
  growing = wanted;
  turn();
}

async function showPictures() {
  pictureOf = null;
  if (!state.pictures) return;
  const found = await tilePictures(state).catch(() => null);
  if (state.pictures) pictureOf = found;
  turn();
}

function dress() {
  const layer = layerNow();
  $("#layer").value = state.layer;
  for (const button of document.querySelectorAll("[data-act]")) {
    const pressed = PRESSED[button.dataset.act]?.();
    if (pressed !== undefined) button.setAttribute("aria-pressed", String(pressed));
  }
  for (const [id, words] of Object.entries(WORDS)) $(`#${id}`).textContent = words();
  $("#live").classList.toggle("zoomed", state.zoom);
  $("#live").classList.toggle("grey", network?.input_shape?.[0] === 1);
  $("#back-figure").hidden = !state.backward;
  if (layer) $("#unit-name").textContent = `${state.layer}:${state.unit}${labelOf(layer, state.unit)}`;
}

const labelOf = (layer, unit) => (layer.labelled && network.labels[unit] ? ` ${network.labels[unit].split(",")[0]}` : "");
const next = (list, value) => list[(list.indexOf(value) + 1) % list.length];

const PRESSED = {
  freeze: () => frozen !== null,
  side: () => state.side === "before",
  labels: () => state.labels,
  pictures: () => state.pictures,
  zoom: () => state.zoom,
  grow: () => state.grow,
  back_grid: () => state.in_grid,
  back_from: () => state.from_layer !== "",
  camera: () => source instanceof Camera,
};

const WORDS = {
  "gamma-is": () => String(state.gamma),
  "channel-is": () => ({ 0: "layer", 0.5: "half", 1: "unit" })[state.per_channel] ?? String(state.per_channel),
  "backward-is": () => state.backward || "off",
  "shown-is": () => (state.shown_as === "blurred" ? "blurred norm" : state.shown_as),
  "from-is": () => (state.from_layer ? `${state.from_layer}:${state.from_unit}` : "the unit"),
};

const ACTS = {
  freeze: () => {
    frozen = frozen === null ? canvas.last ?? null : null;
    change({});
  },
  side: () => change({ side: state.side === "after" ? "before" : "after" }),
  labels: () => change({ labels: !state.labels }),
  pictures: () => change({ pictures: !state.pictures }),
  zoom: () => change({ zoom: !state.zoom }),
  grow: () => change({ grow: !state.grow }),
  gamma: () => change({ gamma: next(GAMMAS, state.gamma) }),
  channel: () => change({ per_channel: next(CHANNELS, state.per_channel) }),
  backward: () => change({ backward: next(BACKWARDS, state.backward) }),
  shown: () => change({ shown_as: next(SHOWN_AS, state.shown_as) }),
  back_grid: () => change({ in_grid: !state.in_grid, backward: state.backward || "gradient" }),
  back_from: () =>
    change(state.from_layer ? { from_layer: "", from_unit: 0 } : { from_layer: state.layer, from_unit: state.unit }),
  layer_before: () => step(-1),
  layer_after: () => step(1),
  left: () => move("ArrowLeft"),
  right: () => move("ArrowRight"),
  up: () => move("ArrowUp"),
  down: () => move("ArrowDown"),
  file_before: () => turnTo(turned - 1),
  file_after: () => turnTo(turned + 1),
  camera: () => use([new Camera()]),
  open: () => $("#files").click(),
};

function step(by) {
  const names = network?.layers.map((layer) => layer.name) ?? [];
  const place = names.indexOf(state.layer) + by;
  if (names[place]) change({ layer: names[place] });
}

function move(key, fast = false) {
  const layer = layerNow();
  if (!layer) return;
  const columns = place?.columns ?? Math.ceil(Math.sqrt(layer.units));
  const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[key] * (fast ? WIDE_STEP : 1);
  const unit = state.unit + by;
  if (unit >= 0 && unit < layer.units) change({ unit });
  else if (fast) change({ unit: by < 0 ? 0 : layer.units - 1 });
}

// --- where frames come from --------------------------------------------------------------

async function use(found) {
  for (const one of sources) one.close();
  sources = found;
  source = null;
  await turnTo(0);
}

async function turnTo(index) {
  if (!sources.length) return;
  turned = (index + sources.length) % sources.length;
  const chosen = sources[turned];
  frozen = null;
  try {
    await chosen.open();
    source = chosen;
    say("");
    state.source = chosen instanceof Camera ? "camera" : "";
    $("#source-name").textContent = chosen.name;
  } catch (error) {
    say(error.message, true);
  }
  change({});
}

// --- the loop ------------------------------------------------------------------------------

const pause = (seconds) =>
  new Promise((done) => {
    const timer = setTimeout(done, seconds * 1000);
    turn = () => {
      clearTimeout(timer);
      done();
    };
  });

async function nextFrame() {
  if (frozen) return frozen;
  if (source?.ended) throw new Error(`${source.name} ended. Choose it again, or something else.`);
  if (!source?.drawable || !network?.input_shape) return null;
  const [, height, width] = network.input_shape;
  canvas.last = await frameOf(source.drawable, width, height, canvas);
  return canvas.last;
}

async function show(frame, { header, parts }) {
  const names = [...Object.keys(parts), "input"];
  const bitmaps = await Promise.all([...Object.values(parts), frame].map((blob) => createImageBitmap(blob)));
  const seen = Object.fromEntries(names.map((name, index) => [name, bitmaps[index]]));
  drawFlat($("#input"), seen.input, true);
  if (header.top) drawBars($("#classes"), header.top);
  if (seen.grid && header.layer === state.layer) {
    const layer = layerNow();
    const from = state.from_layer === state.layer ? state.from_unit : null;
    fit($("#grid"));
    const names = layer.labelled ? network.labels : null;
    place = drawGrid($("#grid"), seen.grid, header.grid, { unit: state.unit, from, labels: state.labels, names, pictureOf });
  }
  if (seen.unit && header.unit.unit === state.unit) {
    drawFlat($("#activation"), seen.unit);
    drawOver($("#over"), seen.input, seen.unit);
    $("#highest").textContent = `highest ${header.unit.highest.toPrecision(3)}`;
  }
  if (growing && header.grown && header.unit.unit === state.unit) {
    sayGrown(header.grown);
    if (seen.grown) drawFlat($("#grown"), seen.grown);
  }
  if (header.backward) {
    const { layer, unit, trouble } = header.backward;
    $("#back-words").textContent = trouble ?? `Backward from ${layer}:${unit}`;
  }
  if (seen.backward) drawFlat($("#backward"), seen.backward, true);
  for (const bitmap of bitmaps) bitmap.close();
}

const pace = { frames: 0, since: performance.now(), delays: [] };

function count(began) {
  pace.frames += 1;
  pace.delays.push(performance.now() - began);
  const seconds = (performance.now() - pace.since) / 1000;
  if (seconds < 1) return;
  const delay = pace.delays.sort((a, b) => a - b)[pace.delays.length >> 1];
  $("#pace").textContent = `${(pace.frames / seconds).toFixed(1)} frames a second, ${Math.round(delay)} ms behind`;
  Object.assign(pace, { frames: 0, since: performance.now(), delays: [] });
}

async function once() {
  if (session.network !== state.network && network && source) await session.open(state.network);
  const began = performance.now();
  const frame = await nextFrame();
  if (!frame) return pause(RETRY_SECONDS);
  const view = viewOf(state, fit($("#grid")));
  if (growing) view.grow = true;
  const answer = await session.send(frame, view);
  await show(frame, answer);
  count(began);
  $("#live").dispatchEvent(new CustomEvent("frame", { detail: { began, seconds: answer.header.seconds } })); // bench/live.py
  $("#live").dataset.frames = String(Number($("#live").dataset.frames ?? 0) + 1);
  say("");
  if (frozen || !source.moving) await pause(growing && !answer.header.grown?.done ? GROWTH_SECONDS : KEEP_SECONDS);
}

async function hear(error) {
  say(error.message, true);
  if (error.status === 404 && error.kind === "not-found") session.forget(); // it is over: the next frame begins another
  await pause(error.passes || error.status === 404 ? RETRY_SECONDS : KEEP_SECONDS);
}

async function loop() {
  for (;;) {
    if (document.hidden) await new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
    await once().catch(hear);
  }
}

// --- the network --------------------------------------------------------------------------

async function choose(name) {
  network = null;
  session.close();
  for (;;) {
    try {
      network = await getJson(`/api/v1/networks/${encodeURIComponent(name)}`);
      await getJson(`/api/v1/networks/${encodeURIComponent(name)}/layers`); // asks a worker to look at it, if none has
      network = await getJson(`/api/v1/networks/${encodeURIComponent(name)}`);
      break;
    } catch (error) {
      say(error.message, true);
      if (!error.passes) return;
      await new Promise((done) => setTimeout(done, 1000));
    }
    if ($("#network").value !== name) return;
  }
  const options = network.layers.map((layer) => new Option(`${layer.name} (${layer.units})`, layer.name));
  $("#layer").replaceChildren(...options);
  const known = network.layers.some((layer) => layer.name === state.layer);
  change({ network: name, layer: known ? state.layer : (network.layers.find((layer) => layer.default) ?? network.layers[0]).name });
  showUnit(state, grow);
}

// --- start ----------------------------------------------------------------------------------

for (const button of document.querySelectorAll("[data-act]")) button.addEventListener("click", () => ACTS[button.dataset.act]());
$("#network").addEventListener("change", () => choose($("#network").value));
$("#layer").addEventListener("change", () => change({ layer: $("#layer").value }));
$("#files").addEventListener("change", () => use([...$("#files").files].map(sourceOf)));
$("#grid").addEventListener("click", (event) => {
  const unit = place?.hit(event.offsetX, event.offsetY) ?? null;
  if (unit !== null) change({ unit });
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  if (event.dataTransfer.files.length) use([...event.dataTransfer.files].map(sourceOf));
});
addEventListener("pagehide", () => session.close());
bindKeys(move);
if (state.source === "camera") use([new Camera()]);
else say("Choose the camera, or open pictures or a video.");
if (state.network) $("#network").value = state.network;
if ($("#network").value) choose($("#network").value);
else say(`There is no network named ${state.network} here. Choose another.`, true);
loop();
