/** The layer 7 proxy of gateways. */
export { L7Proxy, type L7ProxyOptions } from './app.ts'
export { type L7ProxyConfig, readConfig } from './config.ts'
