import { useId, useLayoutEffect, useRef, useState, type ReactNode } from "react";
import { useOverlay } from "../../hooks/useOverlay";
import styles from "./Menu.module.css";

/** The attributes of the button that opens a menu. */
export interface MenuButton {
  popoverTarget: string;
  "aria-expanded": boolean;
}

interface Props {
  button: (opens: MenuButton) => ReactNode;
  children: (close: () => void) => ReactNode;
  label: string;
}

const GAP_PX = 6;

/** A popover beside a button, in the top layer: no scroll container clips it; Escape or a click elsewhere closes it. */
export function Menu({ button, children, label }: Props) {
  const id = useId();
  const [isOpen, setOpen] = useState(false);
  /** Whether the menu is open or opens: the event "toggle" comes in a task after it is shown, when the reader may have gone back. */
  const [isOverlay, setOverlay] = useState(false);
  const menu = useRef<HTMLDivElement>(null);
  useOverlay(() => menu.current?.hidePopover(), isOverlay);
  useLayoutEffect(() => {
    const shown = menu.current;
    if (!isOpen || !shown) return undefined;
    const place = () => placeBesideButton(shown);
    place();
    addEventListener("resize", place);
    // Parts that are loaded later change the size of the menu.
    const sizes = new ResizeObserver(place);
    sizes.observe(shown);
    return () => {
      removeEventListener("resize", place);
      sizes.disconnect();
    };
  }, [isOpen]);
  return (
    <>
      {button({ popoverTarget: id, "aria-expanded": isOpen })}
      <div
        ref={menu}
        id={id}
        popover="auto"
        role="group"
        aria-label={label}
        className={styles.menu}
        onBeforeToggle={({ newState }) => newState === "open" && setOverlay(true)}
        onToggle={({ newState }) => {
          setOverlay(newState === "open");
          // Not before: what is not shown yet cannot have the focus.
          setOpen(newState === "open");
        }}
      >
        {isOpen && children(() => document.getElementById(id)?.hidePopover())}
      </div>
    </>
  );
}

/** Place the menu below its button and flush with its right side; above it if there is no space below. */
function placeBesideButton(menu: HTMLElement): void {
  const button = document.querySelector(`[popovertarget="${CSS.escape(menu.id)}"]`);
  if (!button) return;
  const beside = button.getBoundingClientRect();
  const { width, height } = menu.getBoundingClientRect();
  const isBelow = beside.bottom + GAP_PX + height <= innerHeight;
  menu.style.left = `${Math.max(GAP_PX, Math.min(beside.right - width, innerWidth - width - GAP_PX))}px`;
  menu.style.top = `${isBelow ? beside.bottom + GAP_PX : Math.max(GAP_PX, beside.top - height - GAP_PX)}px`;
}
