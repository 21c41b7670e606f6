// What users of node-oracledb do, in its thin mode. Reads {"dsn", "user", "password"} from standard input and prints one
// JSON object of what it saw; any error ends it with exit code 1.
"use strict";
const fs = require("fs");
const oracledb = require("oracledb");

const TYPES = "c varchar2(20), ch char(4), nv nvarchar2(10), n number, m number(12,2), d date, ts timestamp(6), " +
  "tz timestamp(6) with time zone, r raw(8), bd binary_double, bf binary_float, cl clob, bl blob";
const SELECT = "select id, c, ch, nv, to_char(n) n, m, d, ts, tz, r, bd, bf, cl, bl, rowid from node_tour order by id";

function plain(value) {
  if (value instanceof Date) return value.toISOString();
  if (Buffer.isBuffer(value)) return value.toString("hex");
  return value;
}

async function types(connection) {
  await connection.execute(`create table node_tour (id number(9), ${TYPES})`);
  const moment = new Date("2024-02-29T23:59:58.123Z");
  const sql = "insert into node_tour values (:id, :c, :ch, :nv, :n, :m, :d, :ts, :tz, :r, :bd, :bf, :cl, :bl)";
  const given = { id: 1, c: "ขาย", ch: "ab", nv: "ส้ม", n: -0.5, m: 1234567.89, d: moment, ts: moment, tz: moment,
    r: Buffer.from("00ff", "hex"), bd: 1.5, bf: -2.25, cl: "ก".repeat(40000), bl: Buffer.alloc(70000, 7) };
  await connection.execute(sql, {
    ...given,
    ts: { val: moment, type: oracledb.DB_TYPE_TIMESTAMP },
    tz: { val: moment, type: oracledb.DB_TYPE_TIMESTAMP_TZ },
    d: { val: moment, type: oracledb.DB_TYPE_DATE },
    cl: { val: given.cl, type: oracledb.CLOB },
    bl: { val: given.bl, type: oracledb.BLOB },
  });
  await connection.execute("insert into node_tour (id) values (2)");
  await connection.commit();
  const options = { fetchTypeHandler: (meta) => (meta.dbType === oracledb.DB_TYPE_CLOB ? { type: oracledb.STRING } :
    meta.dbType === oracledb.DB_TYPE_BLOB ? { type: oracledb.BUFFER } : undefined) };
  const found = await connection.execute(SELECT, [], options);
  const first = found.rows[0].map(plain);
  const at = (name) => found.metaData.findIndex((each) => each.name === name);
  first[at("CL")] = [first[at("CL")].length, first[at("CL")].slice(0, 2)];
  first[at("BL")] = [first[at("BL")].length / 2, first[at("BL")].slice(0, 4)];
  return {
    described: found.metaData.map((each) => [each.name, each.dbTypeName]),
    first,
    isRowid: /^[A-Za-z0-9+/]{18}$/.test(first[at("ROWID")]),
    second: found.rows[1].map(plain).slice(0, -1),
  };
}

async function lobs(connection) {
  const found = await connection.execute("select cl, bl from node_tour where id = 1");
  const [clob, blob] = found.rows[0];
  return { clob: (await clob.getData()).length, blob: (await blob.getData()).length };
}

async function manyRows(connection) {
  await connection.execute("create table node_many (id number(9) primary key, t varchar2(20), x number)");
  const rows = Array.from({ length: 2500 }, (_, n) => [n - 1000, `row ${n}`, n % 3 ? (n - 1000) * 1000003 : null]);
  const sql = "insert into node_many values (:1, :2, :3)";
  const done = await connection.executeMany(sql, rows, { autoCommit: true });
  const again = [];
  for (const fetchArraySize of [1, 7, 100, 1000, 3000]) {
    for (let round = 0; round < 2; round += 1) {
      const found = await connection.execute("select id, t, x from node_many order by id", [],
        { fetchArraySize, prefetchRows: round * 50 });
      again.push(JSON.stringify(found.rows) === JSON.stringify(rows));
    }
  }
  const failed = await connection.executeMany(sql, [[9001, "a", 1], [-5, "twice", 1], [9002, "b", 1], [-6, "twice", 1]],
    { batchErrors: true, dmlRowCounts: true });
  await connection.rollback();
  return { inserted: done.rowsAffected, again, offsets: failed.batchErrors.map((each) => [each.offset, each.message.slice(0, 9)]),
    counts: failed.dmlRowCounts };
}

async function cached(connection) {
  const sql = "select id, t from node_many where id >= :1 order by id";
  const seen = [];
  for (const first of [1, 500, -7, 1400]) {
    const found = await connection.execute(sql, [first], { maxRows: 3, fetchArraySize: 2, prefetchRows: 2 });
    seen.push(found.rows.map((row) => row[0]));
    const stream = await connection.execute(sql, [first + 10], { resultSet: true, fetchArraySize: 2 });
    seen.push((await stream.resultSet.getRow())[0]);
    await stream.resultSet.close();
  }
  return seen;
}

async function changes(connection) {
  const updated = await connection.execute("update node_many set t = 'new' where id between 1 and 10");
  const returned = await connection.execute(
    "update node_many set x = x + 1 where id in (1, 2) returning id, t into :id, :t",
    { id: { dir: oracledb.BIND_OUT, type: oracledb.NUMBER }, t: { dir: oracledb.BIND_OUT, type: oracledb.STRING } });
  await connection.rollback();
  const back = await connection.execute("select count(*) from node_many where t = 'new'");
  const scn = await connection.execute("begin :scn := dbms_flashback.get_system_change_number; end;",
    { scn: { dir: oracledb.BIND_OUT, type: oracledb.NUMBER } });
  return { updated: updated.rowsAffected, returned: returned.outBinds, back: back.rows[0][0],
    scn: scn.outBinds.scn > 0 };
}

async function errors(connection) {
  const seen = [];
  for (const sql of ["select * from nowhere", "select 1/0 from dual", "insert into node_many values (1, 'x', 1)",
    "select to_number('x') from dual", "selec 1", "select 1 from dual where"]) {
    try {
      await connection.execute(sql);
      seen.push("none");
    } catch (error) {
      seen.push(error.errorNum);
    }
  }
  const stream = await connection.execute("select 1 / (1000 - level) from dual connect by level <= 2000", [],
    { resultSet: true, fetchArraySize: 90 });
  let rows = 0;
  try {
    while (await stream.resultSet.getRow()) rows += 1;
  } catch (error) {
    seen.push([rows, error.errorNum]);
  }
  await stream.resultSet.close();
  return seen.concat((await connection.execute("select 'alive' from dual")).rows[0]);
}

async function tour(facts) {
  const connection = await oracledb.getConnection({ connectString: facts.dsn, user: facts.user,
    password: facts.password });
  try {
    const seen = { thin: connection.thin !== false, version: connection.oracleServerVersionString };
    for (const step of [types, lobs, manyRows, cached, changes, errors]) seen[step.name] = await step(connection);
    return seen;
  } finally {
    await connection.execute("drop table node_tour purge").catch(() => {});
    await connection.execute("drop table node_many purge").catch(() => {});
    await connection.close();
  }
}

tour(JSON.parse(fs.readFileSync(0, "utf8")))
  .then((seen) => console.log(JSON.stringify(seen)))
  .catch((error) => {
    console.error(error.stack);
    process.exitCode = 1;
  });
