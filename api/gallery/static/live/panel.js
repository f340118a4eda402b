// Beside the grid: what the gallery has of the unit, and preferred pictures for the tiles.

import { getJson } from "./session.js";
import { addressOf, make, photographs, preferred } from "./unit.js";

const $ = (selector) => document.querySelector(selector);
const MOST_UNITS = 200; // in one page of the REST API

let shown = 0; // counts what was asked for, so that a late answer is not shown

export async function showUnit(state) {
  if (!state.layer || !state.network) return;
  const mine = ++shown;
  $("#gallery-link").href = addressOf(state);
  const [pictures, photos] = await Promise.all([preferred(state).catch(() => []), photographs(state).catch(() => [])]);
  if (mine !== shown) return;
  $("#preferred").replaceChildren(...pictures);
  $("#photographs").replaceChildren(...photos);
  $("#photographs-part").hidden = !photos.length;
  if (!pictures.length) await grow({ ...state }, mine);
}

async function grow(state, mine) {
  const words = document.createElement("p");
  words.className = "quiet small";
  words.textContent = "No preferred picture yet.";
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: "Make it now" });
  $("#preferred").replaceChildren(words, button);
  button.addEventListener("click", async () => {
    button.disabled = true;
    const said = (text) => mine === shown && (words.textContent = text);
    try {
      await make(state, (progress) => said(`In the making: ${Math.round(100 * progress.fraction)} %`));
      if (mine === shown) showUnit(state);
    } catch (error) {
      said(error.message);
      button.disabled = false;
    }
  });
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
