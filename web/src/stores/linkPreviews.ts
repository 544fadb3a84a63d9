import { create } from "zustand";
import { getLocalItem, setLocalItem } from "../lib/storage";

const KEY = "city.linkPreviews";
const OFF = "off";

interface LinkPreviews {
  /** Whether the reader wants previews of links, if the city has them. */
  isOn: boolean;
  choose: (isOn: boolean) => void;
}

export const useLinkPreviews = create<LinkPreviews>((set) => ({
  isOn: getLocalItem(KEY) !== OFF,
  choose: (isOn) => {
    setLocalItem(KEY, isOn ? null : OFF);
    set({ isOn });
  },
}));
