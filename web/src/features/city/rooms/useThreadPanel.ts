import { useCallback, useMemo } from "react";
import { useLocation, useNavigate, useSearchParams } from "react-router";
import { isEmbedded } from "../../../lib/embedded";

const THREAD = "thread";
const LIST = "threads";

/** The thread panel beside a room. The URL has its state: `?thread=<id of the root>`, or `?threads` for the list. */
export function useThreadPanel() {
  const [search, setSearch] = useSearchParams();
  const navigate = useNavigate();
  const { state } = useLocation() as { state: { isOpenedHere?: boolean } | null };
  const rootId = search.get(THREAD);
  const isList = search.has(LIST);
  const isOpen = rootId !== null || isList;
  const isOpenedHere = !isEmbedded && state?.isOpenedHere === true;

  const change = useCallback(
    (edit: (now: URLSearchParams) => void) =>
      setSearch(
        (now) => {
          const next = new URLSearchParams(now);
          edit(next);
          return next;
        },
        // Going back in the browser's history closes the panel, whatever it has shown meanwhile.
        { replace: isOpen, state: { isOpenedHere: isOpenedHere || !isOpen }, preventScrollReset: true },
      ),
    [setSearch, isOpen, isOpenedHere],
  );

  return useMemo(
    () => ({
      rootId,
      isList,
      isOpen,
      open: (id: string) => change((now) => now.set(THREAD, id)),
      openList: () =>
        change((now) => {
          now.delete(THREAD);
          now.set(LIST, "");
        }),
      close: () => {
        if (isOpenedHere) void navigate(-1);
        else
          change((now) => {
            now.delete(THREAD);
            now.delete(LIST);
          });
      },
    }),
    [rootId, isList, isOpen, isOpenedHere, change, navigate],
  );
}
