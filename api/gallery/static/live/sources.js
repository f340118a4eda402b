// Where frames come from: the camera, pictures, a video. Each gives what it shows now as a square of the network's size.

const QUALITY = 0.92;

// The middle of a picture in the input's proportions, as the network sees it.
export async function frameOf(drawable, width, height, canvas) {
  const w = drawable.videoWidth || drawable.width;
  const h = drawable.videoHeight || drawable.height;
  const part = Math.min(w / width, h / height);
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { alpha: false });
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(drawable, (w - width * part) / 2, (h - height * part) / 2, width * part, height * part, 0, 0, width, height);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", QUALITY));
}

export class Camera {
  moving = true;
  name = "Camera";
  #video = document.createElement("video");

  async open() {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error("This browser gives the camera only to pages over HTTPS or of this machine. Open a picture or a video instead.");
    }
    try {
      this.#video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, height: { ideal: 480 } } });
    } catch (error) {
      throw new Error(cameraWords(error));
    }
    Object.assign(this.#video, { muted: true, playsInline: true });
    await this.#video.play();
  }

  get drawable() {
    return this.#video.videoWidth ? this.#video : null;
  }

  get ended() {
    return !this.#video.srcObject?.active;
  }

  close() {
    for (const track of this.#video.srcObject?.getTracks() ?? []) track.stop();
    this.#video.srcObject = null;
  }
}

function cameraWords(error) {
  const remedy = "Open a picture or a video instead, or try again.";
  if (error.name === "NotAllowedError") return `The camera was refused. Allow it beside the page's address. ${remedy}`;
  if (error.name === "NotFoundError") return `There is no camera. ${remedy}`;
  return `The camera cannot be used (${error.message}). ${remedy}`;
}

export class Video {
  moving = true;
  #video = document.createElement("video");
  #address = "";

  constructor(file) {
    this.name = file.name;
    this.#address = URL.createObjectURL(file);
  }

  async open() {
    Object.assign(this.#video, { muted: true, loop: true, playsInline: true, src: this.#address });
    await new Promise((done, fail) => {
      this.#video.addEventListener("loadeddata", done, { once: true });
      this.#video.addEventListener("error", () => fail(new Error(`${this.name} is no video that this browser can play.`)), { once: true });
    });
    if (!this.#video.videoWidth) throw new Error(`${this.name} has no pictures in it.`);
    await this.#video.play();
  }

  get drawable() {
    return this.#video;
  }

  get ended() {
    return this.#video.error !== null;
  }

  close() {
    this.#video.removeAttribute("src");
    this.#video.load();
    URL.revokeObjectURL(this.#address);
  }
}

export class Picture {
  moving = false;
  ended = false;
  drawable = null;
  #file;

  constructor(file) {
    this.#file = file;
    this.name = file.name;
  }

  async open() {
    try {
      this.drawable ??= await createImageBitmap(this.#file);
    } catch {
      throw new Error(`${this.name} is no picture that this browser can read: it may be broken, too large or of another format.`);
    }
  }

  close() {
    this.drawable?.close();
    this.drawable = null;
  }
}

export function sourceOf(file) {
  return file.type.startsWith("video/") ? new Video(file) : new Picture(file);
}
