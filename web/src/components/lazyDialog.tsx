import { Suspense, type ComponentType, type ReactNode } from "react";
import { useTranslation } from "../lib/i18n";
import { lazyPage } from "./lazyPage";
import { Dialog } from "./ui/Dialog";
import { Skeleton } from "./ui/Notice";

interface Props {
  /** Closes the dialog, also while its module is being loaded and if it cannot be loaded. */
  onClose: () => void;
}

/**
 * A dialog whose module is loaded when it first opens.
 *
 * On a slow network a click shows at once that it worked: until the module is loaded, and if it cannot be loaded, another dialog
 * is in its place, which closes as every dialog does. `Early` is what it has above the placeholder.
 */
export function lazyDialog(load: () => Promise<{ default: ComponentType }>, Early?: ComponentType): ComponentType<Props> {
  const Content = lazyPage(load);
  return function LazyDialog({ onClose }: Props) {
    const { t } = useTranslation();
    const frame = (title: string, content: ReactNode) => (
      <Dialog title={title} onClose={onClose}>
        {content}
      </Dialog>
    );
    return (
      <Suspense
        fallback={frame(
          t("common.loading"),
          <>
            {Early && <Early />}
            <Skeleton heights={[2, 5, 3]} />
          </>,
        )}
      >
        <Content frame={(notice) => frame(t("problem.title"), notice)} />
      </Suspense>
    );
  };
}
