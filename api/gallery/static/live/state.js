// What is looked at. It is in the address, so that a view can be shared: only what differs from the usual is said.

const USUAL = {
  network: "",
  layer: "",
  unit: 0,
  side: "after",
  gamma: 1,
  per_channel: 0,
  labels: true,
  zoom: false,
  pictures: false, // preferred pictures on the tiles
  backward: "",
  shown_as: "gray",
  in_grid: false, // backward views in the grid
  from_layer: "", // the unit that the backward pass starts from, where it is frozen
  from_unit: 0,
  grow: true, // a unit without a preferred picture gets one
  source: "",
};

function read(key, text) {
  const usual = USUAL[key];
  if (typeof usual === "boolean") return text === "true";
  if (typeof usual !== "number") return text;
  return Number.isFinite(Number(text)) ? Number(text) : usual;
}

export function fromAddress(query = location.search) {
  const asked = [...new URLSearchParams(query)].filter(([key]) => key in USUAL);
  return { ...USUAL, ...Object.fromEntries(asked.map(([key, text]) => [key, read(key, text)])) };
}

export function toAddress(state) {
  const told = Object.entries(state).filter(([key, value]) => key in USUAL && value !== USUAL[key]);
  const query = new URLSearchParams(told.map(([key, value]) => [key, String(value)])).toString();
  return query ? `${location.pathname}?${query}` : location.pathname;
}

// What of it the worker has to know; `grid` is how many pixels the grid has on this screen.
export function viewOf(state, grid) {
  const view = { layer: state.layer, unit: state.unit, side: state.side, grid };
  view.gamma = state.gamma;
  view.per_channel = state.per_channel;
  view.top = state.labels ? 5 : 0;
  if (state.backward) {
    Object.assign(view, { backward: state.backward, shown_as: state.shown_as });
    if (state.from_layer) Object.assign(view, { from_layer: state.from_layer, from_unit: state.from_unit });
    if (state.in_grid) view.in_grid = true;
  }
  return view;
}
