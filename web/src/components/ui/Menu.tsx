import { useRef, useState, type ReactNode } from "react";
import styles from "./Menu.module.css";

interface Props {
  /** The button that opens it: put `ref` and `onClick` on one. */
  button: (open: { ref: (element: HTMLButtonElement | null) => void; onClick: () => void; "aria-expanded": boolean }) => ReactNode;
  children: (close: () => void) => ReactNode;
  label: string;
}

const GAP_PX = 6;

/** Something that opens beside a button, above all else: not cut off by what scrolls; Escape or a click elsewhere closes it. */
export function Menu({ button, children, label }: Props) {
  const opener = useRef<HTMLButtonElement>(null);
  const menu = useRef<HTMLDivElement>(null);
  const [isOpen, setOpen] = useState(false);

  const open = () => {
    menu.current?.togglePopover();
  };
  const close = () => {
    menu.current?.hidePopover();
    opener.current?.focus();
  };
  const place = () => {
    if (menu.current && opener.current) placeBeside(menu.current, opener.current.getBoundingClientRect());
  };

  return (
    <>
      {button({
        ref: (element) => {
          opener.current = element;
        },
        onClick: open,
        "aria-expanded": isOpen,
      })}
      <div
        ref={menu}
        popover="auto"
        role="group"
        aria-label={label}
        className={styles.menu}
        onToggle={({ newState }) => {
          setOpen(newState === "open");
          if (newState === "open") place();
        }}
      >
        {isOpen && children(close)}
      </div>
    </>
  );
}

/** Under the button and flush with its right side; above it where there is no room below. */
function placeBeside(menu: HTMLElement, beside: DOMRect): void {
  requestAnimationFrame(() => {
    const { width, height } = menu.getBoundingClientRect();
    const isBelow = beside.bottom + GAP_PX + height <= innerHeight;
    menu.style.left = `${Math.max(GAP_PX, Math.min(beside.right - width, innerWidth - width - GAP_PX))}px`;
    menu.style.top = `${isBelow ? beside.bottom + GAP_PX : Math.max(GAP_PX, beside.top - height - GAP_PX)}px`;
  });
}
