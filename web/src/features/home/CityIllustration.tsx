import { GROUND_Y, BUILDINGS, roofPath, windows, type Building } from "./illustrationGeometry";
import styles from "./CityIllustration.module.css";

const WINDOWS = windows();
const TREES = [
  { x: 532, size: 1 },
  { x: 316, size: 0.7 },
  { x: 850, size: 0.75 },
  { x: 8, size: 0.8 },
  { x: 1194, size: 0.9 },
];

/** A drawing of the city with one lit window for each inhabitant who is online. The text beside it has the number. */
export function CityIllustration({ litWindows }: { litWindows: number }) {
  return (
    <svg
      className={styles.illustration}
      viewBox="0 0 1200 300"
      preserveAspectRatio="xMaxYMax meet"
      aria-hidden="true"
      focusable="false"
    >
      <circle className={styles.halo} cx={985} cy={66} r={56} />
      <circle className={styles.light} cx={985} cy={66} r={34} />
      <path className={styles.hillFar} d="M0 214C180 140 330 196 520 168S900 120 1200 196V300H0Z" />
      <path className={styles.hill} d="M0 250C160 190 420 240 600 214S1010 186 1200 236V300H0Z" />
      {BUILDINGS.map((building) => (
        <BuildingShape key={building.x} building={building} />
      ))}
      {WINDOWS.map(({ rank, ...window }) => (
        <rect key={rank} className={`${styles.window} ${rank < litWindows ? styles.lit : ""}`} rx={3} {...window} />
      ))}
      {TREES.map((tree) => (
        <Tree key={tree.x} {...tree} />
      ))}
      <rect className={styles.ground} x={0} y={GROUND_Y} width={1200} height={300 - GROUND_Y} />
    </svg>
  );
}

function BuildingShape({ building }: { building: Building }) {
  const { x, width, height, color } = building;
  const door = x + width / 2 - 8;
  return (
    <g>
      <rect x={x} y={GROUND_Y - height} width={width} height={height} fill={`var(--facade-${color})`} />
      <path className={styles.roof} d={roofPath(building)} fillOpacity={color % 2 ? 1 : 0.82} />
      <path className={styles.roof} d={`M${door} ${GROUND_Y}v-20a8 8 0 0 1 16 0v20z`} />
    </g>
  );
}

function Tree({ x, size }: { x: number; size: number }) {
  return (
    <g transform={`translate(${x} ${GROUND_Y}) scale(${size})`}>
      <rect className={styles.trunk} x={-4} y={-44} width={8} height={44} rx={3} />
      <ellipse className={styles.leaf} cx={0} cy={-72} rx={34} ry={40} />
      <ellipse className={styles.leafLight} cx={-9} cy={-82} rx={19} ry={22} />
    </g>
  );
}
