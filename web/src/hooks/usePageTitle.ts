import { useEffect } from "react";
import { setTitle } from "../lib/title";
import { useSite } from "./useSite";

/** The title of the browser's tab: the page and the city; null for the city alone. */
export function usePageTitle(title: string | null): void {
  const { city_name: city } = useSite();
  useEffect(() => {
    setTitle(title ? `${title} · ${city}` : city);
  }, [title, city]);
}
