// The patches that the network selected, drawn over an image: what was dropped is dimmed, what was selected has an outline.

const CELL = 16;
const DIM = "rgba(9, 13, 18, 0.72)";
const OUTLINE = "#ffd24a";

/** Draw over the whole canvas. `grid`: rows and columns; `selected`: indices of patches, row by row. */
export function drawSelected(canvas, [rows, columns], selected) {
  canvas.width = columns * CELL;
  canvas.height = rows * CELL;
  const ink = canvas.getContext("2d");
  const there = new Set(selected);
  ink.fillStyle = DIM;
  for (let patch = 0; patch < rows * columns; patch += 1) {
    if (!there.has(patch)) ink.fillRect((patch % columns) * CELL, Math.floor(patch / columns) * CELL, CELL, CELL);
  }
  ink.strokeStyle = OUTLINE;
  ink.lineWidth = 2;
  ink.beginPath();
  for (const patch of there) outline(ink, patch, columns, there);
  ink.stroke();
}

/** The sides of one patch that no selected neighbour shares. */
function outline(ink, patch, columns, there) {
  const [column, row] = [patch % columns, Math.floor(patch / columns)];
  const [left, top, right, bottom] = [column * CELL, row * CELL, (column + 1) * CELL, (row + 1) * CELL];
  const side = (shared, ...line) => {
    if (shared) return;
    ink.moveTo(line[0], line[1]);
    ink.lineTo(line[2], line[3]);
  };
  side(there.has(patch - columns), left, top, right, top);
  side(there.has(patch + columns), left, bottom, right, bottom);
  side(column > 0 && there.has(patch - 1), left, top, left, bottom);
  side(column < columns - 1 && there.has(patch + 1), right, top, right, bottom);
}
