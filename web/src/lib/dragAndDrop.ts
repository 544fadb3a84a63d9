/** Drag and drop on the page: browsers open a dropped file or link in place of the page, unless the page handles the drop. */

function isForBrowser({ target, dataTransfer }: DragEvent): boolean {
  const isFile = dataTransfer?.types.includes("Files") ?? false;
  return !isFile && target instanceof Element && target.closest("input, textarea, [contenteditable]") !== null;
}

/** Keep browsers from leaving the page on a drop. Text that is dropped into a field is left to the browser. */
export function preventDropNavigation(): void {
  const keepPage = (event: DragEvent) => {
    if (!isForBrowser(event)) event.preventDefault();
  };
  addEventListener("dragover", keepPage);
  addEventListener("drop", keepPage);
}

/** Handle what is dropped on the page, or on elements for which `isFor` is true. Returns a function that stops it. */
export function listenForDrops(
  files: (dropped: FileList) => void,
  text: (dropped: string) => void,
  isFor: (target: Element | null) => boolean = () => true,
): () => void {
  const take = (event: DragEvent) => {
    const { dataTransfer, target } = event;
    if (!dataTransfer || isForBrowser(event) || !isFor(target instanceof Element ? target : null)) return;
    const words = dataTransfer.getData("text/plain");
    if (dataTransfer.files.length) files(dataTransfer.files);
    else if (words) text(words);
  };
  addEventListener("drop", take);
  return () => removeEventListener("drop", take);
}

/** Call `onOver` with the element under dragged files; null when they leave or are dropped. Returns a function that stops it. */
export function listenForDrags(onOver: (target: Element | null) => void): () => void {
  const over = ({ dataTransfer, target }: DragEvent) => {
    if (dataTransfer?.types.includes("Files")) onOver(target instanceof Element ? target : null);
  };
  const leave = ({ relatedTarget }: DragEvent) => {
    if (relatedTarget === null) onOver(null);
  };
  const end = () => onOver(null);
  addEventListener("dragenter", over);
  addEventListener("dragleave", leave);
  addEventListener("drop", end);
  addEventListener("dragend", end);
  return () => {
    removeEventListener("dragenter", over);
    removeEventListener("dragleave", leave);
    removeEventListener("drop", end);
    removeEventListener("dragend", end);
  };
}
