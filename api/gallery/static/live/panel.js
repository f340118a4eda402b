// Beside the grid: what the gallery has of the unit, and preferred pictures for the tiles.

import { getJson } from "./session.js";
import { addressOf, make, photographs, preferred } from "./unit.js";

const $ = (selector) => document.querySelector(selector);
const MOST_UNITS = 200; // in one page of the REST API

const DWELL_SECONDS = 1.2; // units that one only passes by get no picture made

let shown = 0; // counts what was asked for, so that a late answer is not shown
let waiting = 0;

// Shows what the gallery has of the unit; `grow(true)` asks for a picture that grows with the frames.
export async function showUnit(state, grow) {
  if (!state.layer || !state.network) return;
  const mine = ++shown;
  const told = { ...state };
  grow(false);
  clearTimeout(waiting);
  $("#gallery-link").href = addressOf(told);
  const [pictures, photos] = await Promise.all([preferred(told).catch(() => []), photographs(told).catch(() => [])]);
  if (mine !== shown) return;
  $("#preferred").replaceChildren(...pictures);
  $("#photographs").replaceChildren(...photos);
  $("#photographs-part").hidden = !photos.length;
  $("#grown-figure").hidden = pictures.length > 0;
  $("#grown-words").textContent = "No preferred picture yet";
  if (!pictures.length && told.grow) waiting = setTimeout(() => mine === shown && begin(told, mine, grow), DWELL_SECONDS * 1000);
}

// The worker that answers frames shows it grow; an atlas of this one unit keeps it.
async function begin(state, mine, grow) {
  grow(true);
  try {
    await make(state);
    if (mine !== shown) return;
    const pictures = await preferred(state);
    if (mine === shown && pictures.length) {
      grow(false);
      $("#preferred").replaceChildren(...pictures);
      $("#grown-figure").hidden = true;
    }
  } catch (error) {
    if (mine === shown) $("#grown-words").textContent = error.message;
  }
}

export function sayGrown({ step, steps, done, trouble }) {
  $("#grown-words").textContent = trouble || (done ? "Made just now" : `Growing: step ${step} of ${steps}`);
}

// By unit: where its preferred picture is on a sheet of thumbnails.
export async function tilePictures(state) {
  const side = 96;
  const layer = state.layer.split("/").map(encodeURIComponent).join("/");
  const sheets = new Map();
  const found = new Map();
  let query = `?limit=${MOST_UNITS}`;
  while (query) {
    const page = await getJson(`/api/v1/networks/${encodeURIComponent(state.network)}/layers/${layer}/units${query}`);
    for (const item of page.items.filter((one) => one.thumbnail)) found.set(item.unit, item.thumbnail);
    query = page.next_cursor ? `?limit=${MOST_UNITS}&cursor=${encodeURIComponent(page.next_cursor)}` : "";
  }
  for (const key of new Set([...found.values()].map((thumbnail) => thumbnail.sheet))) {
    sheets.set(key, await createImageBitmap(await (await fetch(`/sheets/${key}.webp`)).blob()));
  }
  return (unit) => {
    const thumbnail = found.get(unit);
    if (!thumbnail) return null;
    return { sheet: sheets.get(thumbnail.sheet), x: (thumbnail.index % 8) * side, y: Math.floor(thumbnail.index / 8) * side, side };
  };
}
