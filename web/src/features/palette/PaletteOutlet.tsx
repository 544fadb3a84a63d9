import { usePalette } from "../../stores/palette";
import Palette from "./Palette";

/** The palette as the shell renders it. */
export default function PaletteOutlet() {
  return <Palette onClose={usePalette((state) => state.hide)} />;
}
