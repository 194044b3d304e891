/** Conditions and targets of routes: builders for users, plan data for `plan/`. */
export * from "./match.ts"
export {
  captureNames,
  cidrFault,
  type MatchFault,
  matchFaults,
  PROTOCOLS,
  routeName,
  toCidr,
  toMatchPlan,
  topicFilterFault,
} from "./plan.ts"
export * from "./target.ts"
