export { type Consumer, createConsumer } from './consumer.ts'
export { type HttpServer, serveHttp } from './http.ts'
export { readSettings, type Settings } from './settings.ts'
export { type FreshLog, makeEmbeddedTopic, markKafkaLogClean } from './log/fresh-log.ts'
