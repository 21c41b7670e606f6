// What jsforce users do with Bulk API 2.0 and REST, against the address in the ready file given as argument.
// Prints one JSON object of what it saw; any error ends it with exit code 1.
"use strict";
const fs = require("fs");
const jsforce = require("jsforce");

async function tour(ready) {
  const seen = {};
  const bySoap = new jsforce.Connection({ loginUrl: ready.base_url, version: "62.0" });
  seen.soapUser = (await bySoap.login(ready.username, ready.password + ready.security_token)).id;
  const oauth2 = { loginUrl: ready.base_url, clientId: ready.client_id, clientSecret: ready.client_secret };
  const conn = new jsforce.Connection({ instanceUrl: ready.base_url, oauth2, version: "62.0" });
  seen.oauthUser = (await conn.authorize({ grant_type: "client_credentials" })).id;
  conn.bulk2.pollInterval = 100;
  conn.bulk2.pollTimeout = 30000;
  const input = Array.from({ length: 250 }, (_, n) => ({
    External_ID__c: `js${n}`,
    Pos_Supplier_Code__c: n === 7 ? "TOO LONG" : "A",
    Name_E__c: `ร้าน "${n}"`,
  }));
  const loaded = await conn.bulk2.loadAndWaitForResults({
    object: "KPS_PosSupplier__c",
    operation: "upsert",
    externalIdFieldName: "External_ID__c",
    input,
  });
  seen.successful = loaded.successfulResults.length;
  seen.failed = loaded.failedResults.map((row) => row.External_ID__c);
  seen.unprocessed = loaded.unprocessedRecords.length;
  const stream = await conn.bulk2.query("SELECT Id, Name_E__c FROM KPS_PosSupplier__c WHERE External_ID__c = 'js1'");
  seen.queried = (await stream.toArray()).map((row) => row.Name_E__c);
  const account = conn.sobject("Account");
  const made = await account.create([{ Name: "one" }, { Name: "two" }]);
  seen.created = made.every((each) => each.success);
  seen.found = (await account.find({ Name: { $in: ["one", "two"] } }, "Id, Name").sort("Name")).map((each) => each.Name);
  await account.destroy(made.map((each) => each.id));
  seen.fields = (await conn.sobject("KPS_Sales__c").describe()).fields.length > 40;
  return seen;
}

tour(JSON.parse(fs.readFileSync(process.argv[2])))
  .then((seen) => console.log(JSON.stringify(seen)))
  .catch((error) => {
    console.error(error);
    process.exit(1);
  });
