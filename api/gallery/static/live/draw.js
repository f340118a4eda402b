// Pictures and bars on the page.

const OVERLAY = 0.75;

export function fit(canvas) {
  const side = Math.round(canvas.clientWidth * Math.min(devicePixelRatio, 2));
  if (side && canvas.width !== side) canvas.width = canvas.height = side;
  return canvas.width;
}

// Where the grid's tiles are on the canvas: {side, columns, units, at(unit), hit(x, y)}.
export function tiles(canvas, { columns, rows, units }, bitmap) {
  const scale = canvas.width / bitmap.width;
  const width = (bitmap.width / columns) * scale;
  const height = (bitmap.height / rows) * scale;
  return {
    units,
    columns,
    at: (unit) => [(unit % columns) * width, Math.floor(unit / columns) * height, width - scale, height - scale],
    hit(x, y) {
      const column = Math.floor((x * canvas.width) / canvas.clientWidth / width);
      const unit = Math.floor((y * canvas.width) / canvas.clientWidth / height) * columns + column;
      return column < columns && unit < units ? unit : null;
    },
  };
}

export function drawGrid(canvas, bitmap, grid, { unit, from, labels, names, pictureOf }) {
  const height = Math.round((canvas.width * bitmap.height) / bitmap.width);
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d", { alpha: false });
  context.imageSmoothingEnabled = bitmap.width > canvas.width;
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const place = tiles(canvas, grid, bitmap);
  if (pictureOf) drawPictures(context, bitmap, place, pictureOf, canvas);
  if (labels && names) drawNames(context, place, names);
  mark(context, place.at(unit), "--gold");
  if (from !== null) mark(context, place.at(from), "--good");
  return place;
}

function mark(context, [x, y, w, h], colour) {
  context.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue(colour);
  context.lineWidth = Math.max(2, context.canvas.width / 320);
  context.strokeRect(x, y, w, h);
}

// Preferred pictures where there are any, as bright as their tiles are.
function drawPictures(context, bitmap, place, pictureOf, canvas) {
  for (let unit = 0; unit < place.units; unit++) {
    const found = pictureOf(unit);
    if (!found) continue;
    const at = place.at(unit);
    context.drawImage(found.sheet, found.x, found.y, found.side, found.side, ...at);
  }
  context.globalAlpha = 1 - OVERLAY + 0.2;
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  context.globalAlpha = 1;
}

function drawNames(context, place, names) {
  const [, , width, height] = place.at(0);
  if (width < 40) return;
  context.font = `${Math.round(Math.min(width / 7, 15))}px sans-serif`;
  context.textBaseline = "bottom";
  for (let unit = 0; unit < place.units; unit++) {
    const [x, y] = place.at(unit);
    context.fillStyle = "rgb(0 0 0 / 60%)";
    context.fillRect(x, y + height - 16, width, 16);
    context.fillStyle = "#fff";
    context.fillText(names[unit].split(",")[0], x + 3, y + height - 2, width - 6);
  }
}

export function drawFlat(canvas, bitmap, smooth = false) {
  const ratio = bitmap.height / bitmap.width;
  const width = Math.max(fit(canvas), 1);
  canvas.height = Math.round(width * ratio);
  const context = canvas.getContext("2d", { alpha: false });
  context.imageSmoothingEnabled = smooth;
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
}

// The input where the unit is active, and darker where it is not.
export function drawOver(canvas, input, activation) {
  drawFlat(canvas, input, true);
  const context = canvas.getContext("2d", { alpha: false });
  context.imageSmoothingEnabled = true;
  context.globalCompositeOperation = "multiply";
  context.drawImage(activation, 0, 0, canvas.width, canvas.height);
  context.globalCompositeOperation = "source-over";
  context.globalAlpha = 0.3;
  context.drawImage(input, 0, 0, canvas.width, canvas.height);
  context.globalAlpha = 1;
}

export function drawBars(list, classes) {
  while (list.children.length > classes.length) list.lastChild.remove();
  while (list.children.length < classes.length) list.append(bar());
  classes.forEach(({ label, probability }, place) => {
    const [name, meter, number] = list.children[place].children;
    name.textContent = label.split(",")[0];
    name.title = label;
    meter.value = probability;
    number.textContent = probability < 0.01 ? "<1 %" : `${Math.round(100 * probability)} %`;
  });
}

function bar() {
  const item = document.createElement("li");
  const meter = document.createElement("meter");
  item.append(document.createElement("span"), meter, document.createElement("output"));
  return item;
}
