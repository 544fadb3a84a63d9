import { lazy, Suspense } from "react";
import { Route, Routes } from "react-router";
import { Skeleton } from "./components/ui/Notice";
import { Shell } from "./features/layout/Shell";
import { NotFoundPage } from "./features/layout/NotFoundPage";

const HomePage = lazy(() => import("./features/home/HomePage"));
const CityRoomsPage = lazy(() => import("./features/city/rooms/CityRoomsPage"));
const CityRoomView = lazy(() => import("./features/city/rooms/CityRoomView"));
const SecondMePage = lazy(() => import("./features/secondme/SecondMePage"));
const AgentsPage = lazy(() => import("./features/agents/AgentsPage"));
const AgentPage = lazy(() => import("./features/agents/AgentPage"));
const NodePage = lazy(() => import("./features/places/NodePage"));
const MicroDaoPage = lazy(() => import("./features/places/MicroDaoPage"));

export function App() {
  return (
    <Shell>
      <Suspense fallback={<Skeleton heights={[3, 10, 10]} />}>
        <Routes>
          <Route path="/" element={<HomePage />} />
          <Route path="/city" element={<CityRoomsPage />} />
          <Route path="/city/:slug" element={<CityRoomView />} />
          <Route path="/secondme" element={<SecondMePage />} />
          <Route path="/agents" element={<AgentsPage />} />
          <Route path="/agents/:id" element={<AgentPage />} />
          <Route path="/nodes/:nodeId" element={<NodePage />} />
          <Route path="/microdao/:slug" element={<MicroDaoPage />} />
          <Route path="*" element={<NotFoundPage />} />
        </Routes>
      </Suspense>
    </Shell>
  );
}
