// A live session: frames out, answers back, one at a time. What is wrong is said in words, and tried again.

const ADDRESS = "/api/v1/live";

export class Trouble extends Error {
  constructor(status, problem) {
    super([problem.detail ?? `The server answered ${status}.`, problem.remedy].filter(Boolean).join(" "));
    this.status = status;
    this.kind = (problem.type ?? "").split("/").pop();
  }

  // Whether the same may work in a moment.
  get passes() {
    return this.status === 503 || this.status === 429 || this.status === 0;
  }
}

async function ask(address, options) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw new Trouble(0, { detail: "The server does not answer.", remedy: "It is tried again." });
  }
  if (answer.ok) return answer;
  throw new Trouble(answer.status, await answer.json().catch(() => ({})));
}

export async function getJson(address) {
  return (await ask(address, { headers: { Accept: "application/json" } })).json();
}

export async function postJson(address, body) {
  const headers = { "Content-Type": "application/json", Accept: "application/json" };
  return (await ask(address, { method: "POST", headers, body: JSON.stringify(body) })).json();
}

// A packet: four bytes with the header's length, the header, the parts; see broker/packets.py.
export function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const parts = {};
  let place = 4 + length;
  for (const { name, bytes } of header.parts) {
    parts[name] = new Blob([new Uint8Array(buffer, place, bytes)]);
    place += bytes;
  }
  return { header, parts };
}

export class Session {
  #network = "";
  #frames = "";
  #address = "";

  get network() {
    return this.#network;
  }

  async open(network) {
    this.close();
    const made = await postJson(ADDRESS, { network });
    this.#network = network;
    this.#frames = made.links.frames;
    this.#address = `${ADDRESS}/${made.id}`;
  }

  // The worker is free at once, also when the page is left.
  close() {
    if (this.#address) fetch(this.#address, { method: "DELETE", keepalive: true }).catch(() => undefined);
    this.forget();
  }

  forget() {
    this.#network = this.#frames = this.#address = "";
  }

  async send(picture, view) {
    const query = new URLSearchParams(view);
    const headers = { "Content-Type": picture.type };
    const answer = await ask(`${this.#frames}?${query}`, { method: "POST", headers, body: picture });
    return unpack(await answer.arrayBuffer());
  }
}
