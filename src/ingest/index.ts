/** Kubernetes objects, from informers or from YAML text, as the model's events. */
export { modelEvent, modelEvents, type OnUnreadable, type ReadOptions } from './events.ts'
export { InformerFeed, type InformerFeedOptions } from './feed.ts'
export { slimObject } from './slim.ts'
export { objectsFromYaml, type ParsedObject } from './yaml.ts'
