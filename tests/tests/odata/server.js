// Fills the tables with the rows that the test laid beside this file, before any request is answered.
const cds = require("@sap/cds");

cds.on("served", async () => {
  for (const [entity, entries] of Object.entries(require("./rows.json"))) {
    if (entries.length > 0) await cds.db.run(cds.ql.INSERT.into(entity).entries(entries));
  }
});

module.exports = cds.server;
