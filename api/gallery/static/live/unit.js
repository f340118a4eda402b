// What the gallery knows of the unit looked at: its preferred pictures and top photographs. One without a picture gets
// one made at once.

import { getJson, postJson } from "./session.js";

const LOOK_SECONDS = 2;

export function addressOf(state) {
  const layer = state.layer.split("/").map(encodeURIComponent).join("/");
  return `/networks/${encodeURIComponent(state.network)}/layers/${layer}/units/${state.unit}`;
}

function figure(source, words) {
  const made = document.createElement("figure");
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

export async function photographs(state) {
  const found = await getJson(`/api/v1${addressOf(state)}/answers`).catch(() => ({}));
  const items = found.items ?? found.top ?? [];
  return items.filter((item) => item.links?.crop ?? item.links?.file).map((item) => figure(item.links.crop ?? item.links.file, item.name ?? `${item.activation ?? ""}`));
}

export async function make(state, said) {
  const wish = { network: state.network, layers: [state.layer], units: [state.unit], recipes: ["fourier"] };
  const atlas = await postJson("/api/v1/atlases", wish);
  for (;;) {
    const progress = await getJson(`/api/v1/atlases/${atlas.id}/progress`);
    if (progress.state === "complete") return;
    if (["failed", "cancelled"].includes(progress.state)) throw new Error("The picture could not be made.");
    said(progress);
    await new Promise((done) => setTimeout(done, LOOK_SECONDS * 1000));
  }
}
