// What the gallery knows of the unit looked at: its preferred pictures and top photographs. One without a picture gets
// one made at once.

import { getJson, postJson } from "./session.js";

const LOOK_SECONDS = 2;
const UNFINISHED = new Set(["queued", "planning", "running"]);

export function addressOf(state) {
  const layer = state.layer.split("/").map(encodeURIComponent).join("/");
  return `/networks/${encodeURIComponent(state.network)}/layers/${layer}/units/${state.unit}`;
}

function figure(source, words, wide = false) {
  const made = document.createElement("figure");
  made.classList.toggle("wide", wide);
  const image = Object.assign(document.createElement("img"), { src: source, alt: words, loading: "lazy" });
  const caption = document.createElement("figcaption");
  caption.textContent = words;
  made.append(image, caption);
  return made;
}

export async function preferred(state) {
  const unit = await getJson(`/api/v1${addressOf(state)}`);
  const first = unit.recipes.map(({ recipe, pictures }) => [recipe, pictures.find((p) => p.links.file)]);
  return first.filter(([, picture]) => picture).map(([recipe, picture]) => figure(picture.links.file, recipe.title || recipe.name));
}

// Of the latest probe set, if the network was run on any.
const passes = new Map();

async function hasPasses(network) {
  if (!passes.has(network)) {
    const found = await getJson(`/api/v1/networks/${encodeURIComponent(network)}/passes`).catch(() => ({ items: [] }));
    passes.set(network, found.items.length > 0);
  }
  return passes.get(network);
}

export async function photographs(state) {
  if (!(await hasPasses(state.network))) return [];
  const { images, views } = await getJson(`/api/v1${addressOf(state)}/answers`);
  const crops = views.filter((view) => view.side === "top" && view.kind === "crop" && view.links.file);
  const top = images.filter((image) => image.side === "top");
  return [
    ...crops.map((view) => figure(view.links.file, "What it sees of them", true)),
    ...top.map((image) => figure(image.links.file, image.label ?? image.name)),
  ];
}

// An atlas of this one unit, which is small and so comes before larger ones; returns when it is there.
export async function make(state) {
  const wish = { network: state.network, layers: [state.layer], units: [state.unit], recipes: ["fourier"] };
  const atlas = await postJson("/api/v1/atlases", wish);
  for (;;) {
    const { state: now } = await getJson(`/api/v1/atlases/${atlas.id}/progress`);
    if (now === "complete") return;
    if (!UNFINISHED.has(now)) throw new Error("The picture could not be kept in the gallery.");
    await new Promise((done) => setTimeout(done, LOOK_SECONDS * 1000));
  }
}
