/** The CNI node agent: which pods are in the mesh, their redirection rules, and ZDS to the node proxy. */
export { createNodeAgent } from './agent.ts'
export { createNodeAgentApp, type NodeAgentAppOptions } from './app.ts'
export { redirectionAnnotation } from './eligibility.ts'
export { choosePodRules, type PodRules, type PodRulesOptions } from './pod-rules.ts'
export type { PodRuleOptions } from './rules.ts'
export * from './types.ts'
