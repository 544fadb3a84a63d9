/** What is dropped on the page: browsers open a dropped file or link in the page's place, unless the page takes it. */

function isForBrowser({ target, dataTransfer }: DragEvent): boolean {
  const isFile = dataTransfer?.types.includes("Files") ?? false;
  return !isFile && target instanceof Element && target.closest("input, textarea, [contenteditable]") !== null;
}

/** Keep the page where it is, wherever something is dropped on it. Text that is dropped into a field stays the browser's work. */
export function preventDropNavigation(): void {
  const keepPage = (event: DragEvent) => {
    if (!isForBrowser(event)) event.preventDefault();
  };
  addEventListener("dragover", keepPage);
  addEventListener("drop", keepPage);
}

/** Take what is dropped anywhere on the page, or where `isFor` says so. Answers how to take that back. */
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

/** Hears over what files are dragged, and null when they leave the page or are dropped. Returns how to stop. */
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
