import { render } from "@testing-library/react";
import { afterEach, expect, it, vi } from "vitest";
import { useEndInSight } from "./useEndInSight";

afterEach(() => vi.unstubAllGlobals());

function Thread({ newest }: { newest: string }) {
  return (
    <div>
      <p ref={useEndInSight(newest)} />
    </div>
  );
}

it("follows growth until the reader scrolls away from the end", () => {
  let grow: () => void = () => undefined;
  let see: (isIntersecting: boolean) => void = () => undefined;
  class Observer {
    observe = () => undefined;
    disconnect = () => undefined;
  }
  vi.stubGlobal(
    "ResizeObserver",
    class extends Observer {
      constructor(onGrowth: () => void) {
        super();
        grow = onGrowth;
      }
    },
  );
  vi.stubGlobal(
    "IntersectionObserver",
    class extends Observer {
      constructor(onSight: (entries: { isIntersecting: boolean }[]) => void) {
        super();
        see = (isIntersecting) => onSight([{ isIntersecting }]);
      }
    },
  );
  const scroll = vi.spyOn(Element.prototype, "scrollIntoView").mockReturnValue(undefined);
  const { rerender } = render(<Thread newest="i1" />);
  scroll.mockClear();
  grow();
  expect(scroll).toHaveBeenCalledTimes(1);
  see(false);
  grow();
  expect(scroll).toHaveBeenCalledTimes(1);
  see(true);
  grow();
  expect(scroll).toHaveBeenCalledTimes(2);
  rerender(<Thread newest="i2" />);
  expect(scroll).toHaveBeenCalledTimes(3);
});
