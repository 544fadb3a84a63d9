/** Geometry of the illustration on Home: the lit windows count the inhabitants online. Units of its 1200 × 300 view box. */

export interface Building {
  x: number;
  width: number;
  height: number;
  roof: "gable" | "flat" | "dome" | "slope";
  /** The number of the building's colour, out of six. */
  color: number;
  columns: number;
  rows: number;
}

export const GROUND_Y = 282;

export const BUILDINGS: readonly Building[] = [
  { x: 18, width: 92, height: 92, roof: "gable", color: 1, columns: 3, rows: 2 },
  { x: 116, width: 74, height: 138, roof: "flat", color: 3, columns: 2, rows: 3 },
  { x: 196, width: 116, height: 78, roof: "slope", color: 2, columns: 4, rows: 1 },
  { x: 322, width: 82, height: 164, roof: "dome", color: 4, columns: 2, rows: 4 },
  { x: 410, width: 106, height: 112, roof: "gable", color: 5, columns: 3, rows: 2 },
  { x: 556, width: 88, height: 88, roof: "slope", color: 1, columns: 3, rows: 1 },
  { x: 650, width: 70, height: 150, roof: "gable", color: 6, columns: 2, rows: 3 },
  { x: 726, width: 120, height: 104, roof: "flat", color: 2, columns: 4, rows: 2 },
  { x: 856, width: 84, height: 176, roof: "gable", color: 3, columns: 2, rows: 4 },
  { x: 948, width: 98, height: 98, roof: "dome", color: 4, columns: 3, rows: 2 },
  { x: 1052, width: 72, height: 132, roof: "slope", color: 5, columns: 2, rows: 3 },
  { x: 1130, width: 58, height: 80, roof: "gable", color: 6, columns: 1, rows: 1 },
];

export interface BuildingWindow {
  x: number;
  y: number;
  width: number;
  height: number;
  /** The position in the order of lighting, from 0: scattered over the illustration, and always the same. */
  rank: number;
}

const PANE_WIDTH = 14;
const PANE_HEIGHT = 19;
const FIRST_ROW = 18;
const ROW_STEP = 34;

/** The windows of all buildings. */
export function windows(buildings: readonly Building[] = BUILDINGS): BuildingWindow[] {
  const places = buildings.flatMap((building) => windowsOf(building));
  // The step shares no divisor with the number of windows, so that each window gets a rank of its own.
  const step = [7, 11, 13].find((prime) => places.length % prime !== 0) ?? 1;
  return places.map((place, index) => ({ ...place, rank: (index * step) % places.length }));
}

function windowsOf({ x, width, height, columns, rows }: Building): Omit<BuildingWindow, "rank">[] {
  const step = width / (columns + 1);
  return Array.from({ length: rows * columns }, (_, index) => ({
    x: x + step * ((index % columns) + 1) - PANE_WIDTH / 2,
    y: GROUND_Y - height + FIRST_ROW + Math.floor(index / columns) * ROW_STEP,
    width: PANE_WIDTH,
    height: PANE_HEIGHT,
  }));
}

export function roofPath({ x, width, height, roof }: Building): string {
  const top = GROUND_Y - height;
  const right = x + width;
  switch (roof) {
    case "gable":
      return `M${x - 5} ${top}L${x + width / 2} ${top - width * 0.42}L${right + 5} ${top}Z`;
    case "slope":
      return `M${x - 4} ${top}L${x + 10} ${top - 30}H${right - 10}L${right + 4} ${top}Z`;
    case "dome":
      return `M${x + 4} ${top}C${x + 4} ${top - width * 0.55} ${right - 4} ${top - width * 0.55} ${right - 4} ${top}Z`;
    case "flat":
      return `M${x - 4} ${top}V${top - 9}H${right + 4}V${top}Z`;
  }
}
