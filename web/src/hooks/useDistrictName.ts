import { useQuery } from "@tanstack/react-query";
import { queries } from "../api/queries";

/** The name of a district; its id until the districts are loaded. Null for none. */
export function useDistrictName(id: string | null): string | null {
  const { data: districts } = useQuery({ ...queries.districts, enabled: id !== null });
  return districts?.find((district) => district.id === id)?.name ?? id;
}
