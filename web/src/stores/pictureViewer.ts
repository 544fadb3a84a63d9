import { create } from "zustand";
import type { Media } from "../api/types";

/** A picture of a message; of one that is being sent its file, as the object URL in its `url` ends with its row. */
export type Picture = Media & { file?: File };

interface PictureViewerState {
  /** The pictures of the gallery, in their order; none while the viewer is closed. */
  pictures: readonly Picture[];
  /** The index of the picture that is shown. */
  index: number;
  open: (pictures: readonly Picture[], index: number) => void;
  show: (index: number) => void;
  close: () => void;
}

/** The pictures in the viewer. They are stored here, as the list may unmount the rows of their messages meanwhile. */
export const usePictureViewer = create<PictureViewerState>((set) => ({
  pictures: [],
  index: 0,
  open: (pictures, index) => set({ pictures, index }),
  show: (index) => set({ index }),
  close: () => set({ pictures: [], index: 0 }),
}));
