import { lazy, Suspense, useState, type ComponentType, type ReactNode } from "react";
import { Problem } from "../api/problem";
import { InlineProblem, Skeleton } from "./ui/Notice";

type Load<Props extends object> = () => Promise<{ default: ComponentType<Props> }>;

/**
 * A part of a page whose module is loaded when it is first shown.
 *
 * If the module cannot be loaded, a notice is shown instead, and it is loaded again when the part is shown once more.
 */
export function lazyPart<Props extends object>(
  load: Load<Props>,
  fallback: ReactNode = <Skeleton heights={[4]} />,
): ComponentType<Props> {
  let loaded: ComponentType<Props> | null = null;
  const start = (): ComponentType<Props> => {
    loaded ??= lazy(() =>
      load().catch((error: unknown) => {
        loaded = null;
        const missing = new Problem(0, "page_missing", String(error));
        return { default: () => <InlineProblem error={missing} /> };
      }),
    );
    return loaded;
  };
  return function Part(props: Props) {
    const [Shown] = useState<ComponentType<Props>>(start);
    return (
      <Suspense fallback={fallback}>
        <Shown {...props} />
      </Suspense>
    );
  };
}
