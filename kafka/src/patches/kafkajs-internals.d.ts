/** The CommonJS files of kafkajs that patches replace parts of: without types, and exported as a whole. */
declare module 'kafkajs/src/*' {
  const exported: unknown
  // oxlint-disable-next-line import/no-default-export -- how a module of Node sees one of CommonJS
  export default exported
}
