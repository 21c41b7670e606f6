BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE attempt (
	generation VARCHAR(26) NOT NULL, 
	mapping_version VARCHAR(64) NOT NULL, 
	number INTEGER NOT NULL, 
	source_id VARCHAR(64) NOT NULL, 
	target_id VARCHAR(64) NOT NULL, 
	table_name VARCHAR(64) NOT NULL, 
	partition_key VARCHAR(16) NOT NULL, 
	run_id VARCHAR(255) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	error TEXT, 
	started_utc DATETIME NOT NULL, 
	finished_utc DATETIME, 
	PRIMARY KEY (generation, mapping_version, number)
);
INSERT INTO "attempt" VALUES('01HWT0DP4RNZDFQ77DF3A01M6Z','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608',1,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','run-1','failed','Job 750 failed.','2024-05-01 12:00:31.000000','2024-05-01 12:00:32.000000');
INSERT INTO "attempt" VALUES('01HWT0DWZG1N8SXCMYSKGYGQJW','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608',1,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','run-1','loaded',NULL,'2024-05-01 12:00:33.000000','2024-05-01 12:01:07.000000');
INSERT INTO "attempt" VALUES('01HWT0FPK8Q1D61VJDGBG0DA19','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608',1,'DB1.1','00Dproduction','KPS_T_SALES_M','2024-01','run-2','loaded',NULL,'2024-05-01 12:01:26.000000','2024-05-01 12:01:27.000000');
INSERT INTO "attempt" VALUES('01HWT0G85RHM8VKZ0GTK6HY2H3','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608',1,'DB1.1','00Dproduction','KPS_T_SALES_M','2024-02','run-3','running',NULL,'2024-05-01 12:01:46.000000',NULL);
CREATE TABLE chunk (
	generation VARCHAR(26) NOT NULL, 
	mapping_version VARCHAR(64) NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	source_id VARCHAR(64) NOT NULL, 
	target_id VARCHAR(64) NOT NULL, 
	table_name VARCHAR(64) NOT NULL, 
	partition_key VARCHAR(16) NOT NULL, 
	rows BIGINT NOT NULL, 
	raw_bytes BIGINT NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	loaded BIGINT, 
	created BIGINT, 
	failed BIGINT, 
	unprocessed BIGINT, 
	planned_utc DATETIME NOT NULL, 
	finished_utc DATETIME, 
	PRIMARY KEY (generation, mapping_version, name)
);
INSERT INTO "chunk" VALUES('01HWT0DWZG1N8SXCMYSKGYGQJW','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608','chunk-00001.csv.gz','DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL',10,1000,'1111111111111111111111111111111111111111111111111111111111111111','done',4,3,5,1,'2024-05-01 12:00:34.000000','2024-05-01 12:01:03.000000');
INSERT INTO "chunk" VALUES('01HWT0DWZG1N8SXCMYSKGYGQJW','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608','chunk-00002.csv.gz','DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL',10,1000,'2222222222222222222222222222222222222222222222222222222222222222','planned',NULL,NULL,NULL,NULL,'2024-05-01 12:00:35.000000',NULL);
CREATE TABLE endpoint (
	kind VARCHAR(16) NOT NULL, 
	address VARCHAR(500) NOT NULL, 
	identity VARCHAR(64) NOT NULL, 
	seen_utc DATETIME NOT NULL, 
	PRIMARY KEY (kind, address)
);
INSERT INTO "endpoint" VALUES('oracle','db.example:1521/KPC','DB1.1','2024-05-01 12:00:01.000000');
INSERT INTO "endpoint" VALUES('salesforce','https://example.my.salesforce.com','00Dproduction','2024-05-01 12:00:02.000000');
INSERT INTO "endpoint" VALUES('staging_root','DB1.1 00Dproduction','root-0001','2024-05-01 12:00:03.000000');
CREATE TABLE generation (
	id VARCHAR(26) NOT NULL, 
	source_id VARCHAR(64) NOT NULL, 
	target_id VARCHAR(64) NOT NULL, 
	table_name VARCHAR(64) NOT NULL, 
	partition_key VARCHAR(16) NOT NULL, 
	ordinal INTEGER NOT NULL, 
	scn BIGINT NOT NULL, 
	mode VARCHAR(16) NOT NULL, 
	spec_hash VARCHAR(64) NOT NULL, 
	run_id VARCHAR(255) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	rows BIGINT, 
	raw_bytes BIGINT, 
	started_utc DATETIME NOT NULL, 
	ended_utc DATETIME, 
	reason TEXT, 
	PRIMARY KEY (id), 
	CONSTRAINT uq_generation_ordinal UNIQUE (source_id, target_id, table_name, partition_key, ordinal)
);
INSERT INTO "generation" VALUES('01HWT0DM680PJMV810JH1RJCPF','DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL',1,1001,'full','spec-1','run-1','abandoned',NULL,NULL,'2024-05-01 12:00:13.000000','2024-05-01 12:00:14.000000','its SCN can no longer be read');
INSERT INTO "generation" VALUES('01HWT0DP4RNZDFQ77DF3A01M6Z','DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL',2,1002,'full','spec-1','run-1','sealed',20,2000,'2024-05-01 12:00:15.000000','2024-05-01 12:00:16.000000',NULL);
INSERT INTO "generation" VALUES('01HWT0DWZG1N8SXCMYSKGYGQJW','DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL',3,1003,'full','spec-1','run-1','sealed',20,2000,'2024-05-01 12:00:22.000000','2024-05-01 12:00:23.000000',NULL);
INSERT INTO "generation" VALUES('01HWT0FPK8Q1D61VJDGBG0DA19','DB1.1','00Dproduction','KPS_T_SALES_M','2024-01',1,1001,'full','spec-1','run-1','rolled_back',20,2000,'2024-05-01 12:01:21.000000','2024-05-01 12:01:22.000000','rolled back');
INSERT INTO "generation" VALUES('01HWT0G85RHM8VKZ0GTK6HY2H3','DB1.1','00Dproduction','KPS_T_SALES_M','2024-02',1,1001,'full','spec-1','run-1','sealed',20,2000,'2024-05-01 12:01:39.000000','2024-05-01 12:01:40.000000',NULL);
INSERT INTO "generation" VALUES('01HWT0GC2R3BV6FXW25151HBY4','DB1.1','00Dproduction','KPS_T_SALES_M','2024-02',2,1001,'full','spec-1','run-1','open',NULL,NULL,'2024-05-01 12:01:43.000000',NULL,NULL);
CREATE TABLE job (
	id INTEGER NOT NULL, 
	source_id VARCHAR(64) NOT NULL, 
	target_id VARCHAR(64) NOT NULL, 
	table_name VARCHAR(64) NOT NULL, 
	partition_key VARCHAR(16) NOT NULL, 
	generation VARCHAR(26) NOT NULL, 
	mapping_version VARCHAR(64) NOT NULL, 
	chunk VARCHAR(64) NOT NULL, 
	attempt INTEGER NOT NULL, 
	purpose VARCHAR(16) NOT NULL, 
	object_name VARCHAR(128) NOT NULL, 
	operation VARCHAR(16) NOT NULL, 
	external_id_field VARCHAR(128), 
	state VARCHAR(16) NOT NULL, 
	job_id VARCHAR(18), 
	encoding VARCHAR(16), 
	rows BIGINT NOT NULL, 
	batches BIGINT NOT NULL, 
	processed BIGINT, 
	intent_utc DATETIME NOT NULL, 
	touched_utc DATETIME NOT NULL, 
	closed_utc DATETIME, 
	finished_utc DATETIME, 
	error TEXT, 
	PRIMARY KEY (id), 
	CONSTRAINT uq_job_job_id UNIQUE (target_id, job_id)
);
INSERT INTO "job" VALUES(1,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','01HWT0DWZG1N8SXCMYSKGYGQJW','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608','chunk-00001.csv.gz',1,'chunk','KPS_PosSupplier__c','upsert','External_ID__c','given_up',NULL,NULL,10,1,NULL,'2024-05-01 12:00:36.000000','2024-05-01 12:00:37.000000',NULL,'2024-05-01 12:00:37.000000','not confirmed');
INSERT INTO "job" VALUES(2,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','01HWT0DWZG1N8SXCMYSKGYGQJW','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608','chunk-00001.csv.gz',1,'chunk','KPS_PosSupplier__c','upsert','External_ID__c','aborted','750000000000000002','gzip',10,1,NULL,'2024-05-01 12:00:38.000000','2024-05-01 12:00:41.000000',NULL,'2024-05-01 12:00:41.000000','not confirmed');
INSERT INTO "job" VALUES(3,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','01HWT0DWZG1N8SXCMYSKGYGQJW','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608','chunk-00001.csv.gz',1,'chunk','KPS_PosSupplier__c','upsert','External_ID__c','failed','750000000000000003','gzip',10,1,4,'2024-05-01 12:00:42.000000','2024-05-01 12:00:48.000000','2024-05-01 12:00:45.000000','2024-05-01 12:00:48.000000','not confirmed');
INSERT INTO "job" VALUES(4,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','01HWT0DWZG1N8SXCMYSKGYGQJW','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608','chunk-00001.csv.gz',1,'chunk','KPS_PosSupplier__c','upsert','External_ID__c','complete','750000000000000004','gzip',10,1,4,'2024-05-01 12:00:49.000000','2024-05-01 12:00:55.000000','2024-05-01 12:00:52.000000','2024-05-01 12:00:55.000000',NULL);
INSERT INTO "job" VALUES(5,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','01HWT0DWZG1N8SXCMYSKGYGQJW','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608','chunk-00001.csv.gz.retry',1,'retry','KPS_PosSupplier__c','upsert','External_ID__c','ended','750000000000000005','gzip',10,1,4,'2024-05-01 12:00:56.000000','2024-05-01 12:01:02.000000','2024-05-01 12:00:59.000000','2024-05-01 12:01:02.000000',NULL);
INSERT INTO "job" VALUES(6,'DB1.1','00Dproduction','KPS_T_SALES_M','2024-01','01HWT0FPK8Q1D61VJDGBG0DA19','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608','delete-00001.csv.gz',1,'undo','KPS_SalesM__c','delete','External_ID__c','complete','750000000000000006','gzip',10,1,4,'2024-05-01 12:01:28.000000','2024-05-01 12:01:34.000000','2024-05-01 12:01:31.000000','2024-05-01 12:01:34.000000',NULL);
INSERT INTO "job" VALUES(7,'DB1.1','00Dproduction','KPS_T_SALES_M','2024-02','01HWT0G85RHM8VKZ0GTK6HY2H3','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608','chunk-00001.csv.gz',1,'chunk','KPS_SalesM__c','upsert','External_ID__c','intended',NULL,NULL,10,1,NULL,'2024-05-01 12:01:47.000000','2024-05-01 12:01:47.000000',NULL,NULL,NULL);
INSERT INTO "job" VALUES(8,'DB1.1','00Dproduction','KPS_T_SALES_M','2024-02','01HWT0G85RHM8VKZ0GTK6HY2H3','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608','chunk-00003.csv.gz',1,'chunk','KPS_SalesM__c','upsert','External_ID__c','open','750000000000000008','gzip',10,1,NULL,'2024-05-01 12:01:48.000000','2024-05-01 12:01:50.000000',NULL,NULL,NULL);
INSERT INTO "job" VALUES(9,'DB1.1','00Dproduction','KPS_T_SALES_M','2024-02','01HWT0G85RHM8VKZ0GTK6HY2H3','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608','chunk-00004.csv.gz',1,'chunk','KPS_SalesM__c','upsert','External_ID__c','closing','750000000000000009','gzip',10,1,NULL,'2024-05-01 12:01:51.000000','2024-05-01 12:01:54.000000','2024-05-01 12:01:54.000000',NULL,NULL);
INSERT INTO "job" VALUES(10,'DB1.1','00Dproduction','KPS_T_SALES_M','2024-02','01HWT0G85RHM8VKZ0GTK6HY2H3','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608','chunk-00005.csv.gz',1,'chunk','KPS_SalesM__c','upsert','External_ID__c','closed','750000000000000010','gzip',10,1,4,'2024-05-01 12:01:55.000000','2024-05-01 12:02:00.000000','2024-05-01 12:01:58.000000',NULL,NULL);
CREATE TABLE lease (
	source_id VARCHAR(64) NOT NULL, 
	target_id VARCHAR(64) NOT NULL, 
	table_name VARCHAR(64) NOT NULL, 
	partition_key VARCHAR(16) NOT NULL, 
	stage VARCHAR(32) NOT NULL, 
	owner VARCHAR(255), 
	token BIGINT NOT NULL, 
	acquired_utc DATETIME NOT NULL, 
	expires_utc DATETIME NOT NULL, 
	PRIMARY KEY (source_id, target_id, table_name, partition_key, stage)
);
INSERT INTO "lease" VALUES('DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','oracle_extract',NULL,1,'2024-05-01 12:10:08.000000','2024-05-01 12:00:29.000000');
INSERT INTO "lease" VALUES('DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','staged_csv','run-1',1,'2024-05-01 12:10:19.000000','2024-05-01 12:10:26.000000');
INSERT INTO "lease" VALUES('DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','sf_loaded','run-1',1,'2024-05-01 12:10:30.000000','2024-05-01 12:10:30.000000');
INSERT INTO "lease" VALUES('DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','reconciled','run-1',1,'2024-05-01 12:11:10.000000','2024-05-01 12:11:10.000000');
INSERT INTO "lease" VALUES('DB1.1','00Dproduction','KPS_T_SALES_M','2024-01','oracle_extract','run-2',1,'2024-05-01 12:11:20.000000','2024-05-01 12:11:20.000000');
INSERT INTO "lease" VALUES('DB1.1','00Dproduction','KPS_T_SALES_M','2024-01','sf_loaded','run-2',1,'2024-05-01 12:11:25.000000','2024-05-01 12:11:25.000000');
INSERT INTO "lease" VALUES('DB1.1','00Dproduction','KPS_T_SALES_M','2024-02','oracle_extract','run-3',1,'2024-05-01 12:11:38.000000','2024-05-01 12:11:38.000000');
INSERT INTO "lease" VALUES('DB1.1','00Dproduction','KPS_T_SALES_M','2024-02','sf_loaded','run-3',1,'2024-05-01 12:11:45.000000','2024-05-01 12:11:45.000000');
CREATE TABLE mapping_version (
	version VARCHAR(64) NOT NULL, 
	table_name VARCHAR(64) NOT NULL, 
	external_id_version VARCHAR(64) NOT NULL, 
	declaration TEXT NOT NULL, 
	first_used_utc DATETIME NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "mapping_version" VALUES('92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608','KPS_R_POS_SUPPLIER','d9023869a1eb588c','{"chunk_rows":500000,"columns":[{"assumed":false,"calendar":"gregorian","date_format":null,"default":null,"field":"Pos_Supplier_Code__c","name":"POS_SUPPLIER_CODE","null":"reject","nullable":false,"picklist_map":[],"pii":null,"source":{"kind":"VARCHAR2","scale":null,"size":3},"too_long":"reject","type":{"kind":"string","length":3,"precision":0,"scale":0,"values":[]}},{"assumed":false,"calendar":"gregorian","date_format":null,"default":null,"field":"Name_E__c","name":"NAME_E","null":"keep","nullable":true,"picklist_map":[],"pii":null,"source":{"kind":"VARCHAR2","scale":null,"size":100},"too_long":"reject","type":{"kind":"string","length":100,"precision":0,"scale":0,"values":[]}},{"assumed":true,"calendar":"gregorian","date_format":null,"default":null,"field":"Short_Name__c","name":"SHORT_NAME","null":"keep","nullable":true,"picklist_map":[],"pii":null,"source":{"kind":"VARCHAR2","scale":null,"size":60},"too_long":"reject","type":{"kind":"string","length":60,"precision":0,"scale":0,"values":[]}},{"assumed":true,"calendar":"gregorian","date_format":null,"default":null,"field":"Tel__c","name":"TEL","null":"keep","nullable":true,"picklist_map":[],"pii":null,"source":{"kind":"VARCHAR2","scale":null,"size":40},"too_long":"reject","type":{"kind":"phone","length":40,"precision":0,"scale":0,"values":[]}},{"assumed":true,"calendar":"gregorian","date_format":null,"default":null,"field":"Fax__c","name":"FAX","null":"keep","nullable":true,"picklist_map":[],"pii":null,"source":{"kind":"VARCHAR2","scale":null,"size":40},"too_long":"reject","type":{"kind":"phone","length":40,"precision":0,"scale":0,"values":[]}},{"assumed":true,"calendar":"gregorian","date_format":null,"default":null,"field":"Address1__c","name":"ADDRESS1","null":"keep","nullable":true,"picklist_map":[],"pii":null,"source":{"kind":"VARCHAR2","scale":null,"size":200},"too_long":"truncate","type":{"kind":"string","length":120,"precision":0,"scale":0,"values":[]}},{"assumed":true,"calendar":"gregorian","date_format":null,"default":null,"field":"Address2__c","name":"ADDRESS2","null":"keep","nullable":true,"picklist_map":[],"pii":null,"source":{"kind":"VARCHAR2","scale":null,"size":200},"too_long":"truncate","type":{"kind":"string","length":120,"precision":0,"scale":0,"values":[]}},{"assumed":false,"calendar":"gregorian","date_format":null,"default":null,"field":"City__c","name":"CITY","null":"keep","nullable":true,"picklist_map":[],"pii":null,"source":{"kind":"VARCHAR2","scale":null,"size":60},"too_long":"reject","type":{"kind":"string","length":60,"precision":0,"scale":0,"values":[]}},{"assumed":false,"calendar":"gregorian","date_format":null,"default":null,"field":"Zip_Code__c","name":"ZIP_CODE","null":"keep","nullable":true,"picklist_map":[],"pii":null,"source":{"kind":"CHAR","scale":null,"size":5},"too_long":"reject","type":{"kind":"string","length":5,"precision":0,"scale":0,"values":[]}},{"assumed":false,"calendar":"gregorian","date_format":null,"default":null,"field":"Active__c","name":"ACTIVE","null":"false","nullable":true,"picklist_map":[],"pii":null,"source":{"kind":"NUMBER","scale":null,"size":null},"too_long":"reject","type":{"kind":"boolean","length":0,"precision":0,"scale":0,"values":[]}}],"created_column":null,"day_field":null,"has_rowid":true,"key":["POS_SUPPLIER_CODE"],"lookups":[],"measures":[],"month_column":null,"name":"KPS_R_POS_SUPPLIER","phase":"reference","target":"KPS_PosSupplier__c","update_column":null}','2024-05-01 12:00:07.000000');
CREATE TABLE migration_audit_head (
	id INTEGER NOT NULL, 
	seq BIGINT NOT NULL, 
	entry_hash VARCHAR(64) NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "migration_audit_head" VALUES(1,3,'6ff86cff7f89014a41691e94cef52ccfc2f776c8221276a9154ade7d1f53981c');
CREATE TABLE migration_audit_log (
	seq BIGINT NOT NULL, 
	at_utc DATETIME NOT NULL, 
	actor VARCHAR(255) NOT NULL, 
	run_id VARCHAR(255) NOT NULL, 
	action VARCHAR(64) NOT NULL, 
	source_id VARCHAR(64), 
	target_id VARCHAR(64), 
	table_name VARCHAR(64), 
	partition_key VARCHAR(16), 
	stage VARCHAR(32), 
	generation VARCHAR(26), 
	mapping_version VARCHAR(64), 
	detail TEXT NOT NULL, 
	prev_hash VARCHAR(64) NOT NULL, 
	entry_hash VARCHAR(64) NOT NULL, 
	PRIMARY KEY (seq)
);
INSERT INTO "migration_audit_log" VALUES(1,'2024-05-01 12:02:09.000000','สมชาย','plan-2','campaign planned','DB1.1','00Dproduction',NULL,NULL,NULL,NULL,NULL,'{"months":["2024-01","2024-02"]}','0000000000000000000000000000000000000000000000000000000000000000','768dc7543b683563693a2265149dbd1e8281603b6f1f48534dd652c82b48d70f');
INSERT INTO "migration_audit_log" VALUES(2,'2024-05-01 12:02:10.000000','สมชาย','run-1','sf_loaded done','DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','sf_loaded','01HWT0DWZG1N8SXCMYSKGYGQJW','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608','{"by_size":{"10":"a","2":"b"},"rows":20,"share":0.1}','768dc7543b683563693a2265149dbd1e8281603b6f1f48534dd652c82b48d70f','a20ce2aefa9d5f2c7212ed284febff7508ed7ddceb9c2f40553a5a53a490014f');
INSERT INTO "migration_audit_log" VALUES(3,'2024-05-01 12:02:11.000000','สมชาย','sign-1','sign-off accepted','DB1.1','00Dproduction',NULL,NULL,NULL,NULL,NULL,'{}','a20ce2aefa9d5f2c7212ed284febff7508ed7ddceb9c2f40553a5a53a490014f','6ff86cff7f89014a41691e94cef52ccfc2f776c8221276a9154ade7d1f53981c');
CREATE TABLE migration_failed_records (
	id INTEGER NOT NULL, 
	source_id VARCHAR(64) NOT NULL, 
	target_id VARCHAR(64) NOT NULL, 
	table_name VARCHAR(64) NOT NULL, 
	partition_key VARCHAR(16) NOT NULL, 
	generation VARCHAR(26) NOT NULL, 
	mapping_version VARCHAR(64) NOT NULL, 
	chunk VARCHAR(64) NOT NULL, 
	job_id VARCHAR(18), 
	external_id VARCHAR(255) NOT NULL, 
	error_code VARCHAR(128) NOT NULL, 
	error_class VARCHAR(16) NOT NULL, 
	message TEXT NOT NULL, 
	fields TEXT NOT NULL, 
	attempts INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	first_utc DATETIME NOT NULL, 
	last_utc DATETIME NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "migration_failed_records" VALUES(1,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','01HWT0DP4RNZDFQ77DF3A01M6Z','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608','chunk-00001.csv.gz','750000000000000003','K0','DATA','data','data error','["Name"]',1,'resolved','2024-05-01 12:01:04.000000','2024-05-01 12:01:06.000000');
INSERT INTO "migration_failed_records" VALUES(2,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','01HWT0DWZG1N8SXCMYSKGYGQJW','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608','chunk-00001.csv.gz','750000000000000003','K1','TRANSIENT','transient','transient error','[]',1,'open','2024-05-01 12:01:05.000000','2024-05-01 12:01:05.000000');
INSERT INTO "migration_failed_records" VALUES(3,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','01HWT0DWZG1N8SXCMYSKGYGQJW','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608','chunk-00001.csv.gz','750000000000000003','K2','DEPENDENCY','dependency','dependency error','[]',1,'open','2024-05-01 12:01:05.000000','2024-05-01 12:01:05.000000');
INSERT INTO "migration_failed_records" VALUES(4,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','01HWT0DWZG1N8SXCMYSKGYGQJW','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608','chunk-00001.csv.gz','750000000000000003','K3','DATA','data','data error','["Name"]',1,'open','2024-05-01 12:01:05.000000','2024-05-01 12:01:05.000000');
INSERT INTO "migration_failed_records" VALUES(5,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','01HWT0DWZG1N8SXCMYSKGYGQJW','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608','chunk-00001.csv.gz','750000000000000003','K4','ORG','org','org error','[]',1,'open','2024-05-01 12:01:05.000000','2024-05-01 12:01:05.000000');
INSERT INTO "migration_failed_records" VALUES(6,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','01HWT0DWZG1N8SXCMYSKGYGQJW','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608','chunk-00001.csv.gz','750000000000000003','K5','UNPROCESSED','unprocessed','unprocessed error','[]',1,'open','2024-05-01 12:01:05.000000','2024-05-01 12:01:05.000000');
INSERT INTO "migration_failed_records" VALUES(7,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','01HWT0DWZG1N8SXCMYSKGYGQJW','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608','chunk-00001.csv.gz',NULL,'K6','REJECTED','rejected','rejected error','[]',1,'open','2024-05-01 12:01:05.000000','2024-05-01 12:01:05.000000');
CREATE TABLE org_limits (
	target_id VARCHAR(64) NOT NULL, 
	batches_max BIGINT NOT NULL, 
	batches_used BIGINT NOT NULL, 
	calls_max BIGINT NOT NULL, 
	calls_used BIGINT NOT NULL, 
	read_utc DATETIME NOT NULL, 
	blocked_until_utc DATETIME, 
	blocked_reason TEXT, 
	PRIMARY KEY (target_id)
);
INSERT INTO "org_limits" VALUES('00Dproduction',15000,40,100000,1234,'2024-05-01 12:02:01.000000','2024-05-01 18:00:00.000000','ExceededQuota');
CREATE TABLE org_trait (
	target_id VARCHAR(64) NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	value VARCHAR(255) NOT NULL, 
	learned_utc DATETIME NOT NULL, 
	PRIMARY KEY (target_id, name)
);
INSERT INTO "org_trait" VALUES('00Dproduction','upload_encoding','gzip','2024-05-01 12:00:04.000000');
CREATE TABLE pause (
	id INTEGER NOT NULL, 
	source_id VARCHAR(64) NOT NULL, 
	target_id VARCHAR(64) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	actor VARCHAR(255) NOT NULL, 
	reason TEXT, 
	paused_utc DATETIME NOT NULL, 
	resumed_by VARCHAR(255), 
	resumed_utc DATETIME, 
	PRIMARY KEY (id)
);
INSERT INTO "pause" VALUES(1,'DB1.1','00Dproduction','phase','sales','DBA','maintenance','2024-05-01 12:02:04.000000','DBA','2024-05-01 12:02:05.000000');
INSERT INTO "pause" VALUES(2,'DB1.1','00Dproduction','all','all','DBA','maintenance','2024-05-01 12:02:06.000000',NULL,NULL);
INSERT INTO "pause" VALUES(3,'DB1.1','00Dproduction','phase','sales','DBA',NULL,'2024-05-01 12:02:07.000000',NULL,NULL);
INSERT INTO "pause" VALUES(4,'DB1.1','00Dproduction','table','KPS_T_SALES_M','kpc','refused by the org','2024-05-01 12:02:08.000000',NULL,NULL);
CREATE TABLE quota_entry (
	id INTEGER NOT NULL, 
	target_id VARCHAR(64) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	job INTEGER, 
	rows BIGINT NOT NULL, 
	batches BIGINT NOT NULL, 
	calls BIGINT NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	counted_utc DATETIME NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "quota_entry" VALUES(1,'00Dproduction','job',1,10,1,0,'released','2024-05-01 12:00:36.000000');
INSERT INTO "quota_entry" VALUES(2,'00Dproduction','job',2,10,1,0,'released','2024-05-01 12:00:38.000000');
INSERT INTO "quota_entry" VALUES(3,'00Dproduction','job',3,10,1,0,'debited','2024-05-01 12:00:45.000000');
INSERT INTO "quota_entry" VALUES(4,'00Dproduction','job',4,10,1,0,'debited','2024-05-01 12:00:52.000000');
INSERT INTO "quota_entry" VALUES(5,'00Dproduction','job',5,10,1,0,'debited','2024-05-01 12:00:59.000000');
INSERT INTO "quota_entry" VALUES(6,'00Dproduction','job',6,10,1,0,'debited','2024-05-01 12:01:31.000000');
INSERT INTO "quota_entry" VALUES(7,'00Dproduction','job',7,10,1,0,'reserved','2024-05-01 12:01:47.000000');
INSERT INTO "quota_entry" VALUES(8,'00Dproduction','job',8,10,1,0,'reserved','2024-05-01 12:01:48.000000');
INSERT INTO "quota_entry" VALUES(9,'00Dproduction','job',9,10,1,0,'debited','2024-05-01 12:01:54.000000');
INSERT INTO "quota_entry" VALUES(10,'00Dproduction','job',10,10,1,0,'debited','2024-05-01 12:01:58.000000');
INSERT INTO "quota_entry" VALUES(11,'00Dproduction','others',NULL,340000,34,0,'debited','2024-05-01 12:02:01.000000');
INSERT INTO "quota_entry" VALUES(12,'00Dproduction','calls',NULL,0,0,1234,'debited','2024-05-01 12:02:01.000000');
CREATE TABLE reconciliation (
	id INTEGER NOT NULL, 
	source_id VARCHAR(64) NOT NULL, 
	target_id VARCHAR(64) NOT NULL, 
	table_name VARCHAR(64) NOT NULL, 
	partition_key VARCHAR(16) NOT NULL, 
	generation VARCHAR(26) NOT NULL, 
	stage_run INTEGER NOT NULL, 
	level INTEGER NOT NULL, 
	measure VARCHAR(128) NOT NULL, 
	source_value TEXT, 
	target_value TEXT, 
	passed BOOLEAN NOT NULL, 
	detail TEXT, 
	compared_utc DATETIME NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "reconciliation" VALUES(1,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','01HWT0DWZG1N8SXCMYSKGYGQJW',8,1,'rows','20','19',0,NULL,'2024-05-01 12:01:13.000000');
INSERT INTO "reconciliation" VALUES(2,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','01HWT0DWZG1N8SXCMYSKGYGQJW',8,2,'sum Amount__c','12.50',NULL,0,'{"column":"AMOUNT"}','2024-05-01 12:01:13.000000');
INSERT INTO "reconciliation" VALUES(3,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','01HWT0DWZG1N8SXCMYSKGYGQJW',9,1,'rows','20','20',1,NULL,'2024-05-01 12:01:16.000000');
INSERT INTO "reconciliation" VALUES(4,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','01HWT0DWZG1N8SXCMYSKGYGQJW',9,2,'sum Amount__c','12.50',NULL,1,'{"column":"AMOUNT"}','2024-05-01 12:01:16.000000');
INSERT INTO "reconciliation" VALUES(5,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','01HWT0DWZG1N8SXCMYSKGYGQJW',10,1,'rows','20','20',1,NULL,'2024-05-01 12:01:19.000000');
INSERT INTO "reconciliation" VALUES(6,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','01HWT0DWZG1N8SXCMYSKGYGQJW',10,2,'sum Amount__c','12.50',NULL,1,'{"column":"AMOUNT"}','2024-05-01 12:01:19.000000');
CREATE TABLE scope (
	id INTEGER NOT NULL, 
	source_id VARCHAR(64) NOT NULL, 
	target_id VARCHAR(64) NOT NULL, 
	months TEXT NOT NULL, 
	tables TEXT NOT NULL, 
	mode VARCHAR(16) NOT NULL, 
	sample_rows BIGINT, 
	unassigned TEXT NOT NULL, 
	run_id VARCHAR(255) NOT NULL, 
	actor VARCHAR(255) NOT NULL, 
	set_utc DATETIME NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "scope" VALUES(1,'DB1.1','00Dproduction','["2024-01"]','["KPS_T_SALES_M"]','sample',1000,'{}','plan-1','สมชาย','2024-05-01 12:00:05.000000');
INSERT INTO "scope" VALUES(2,'DB1.1','00Dproduction','["2024-01","2024-02"]','["KPS_R_POS_SUPPLIER","KPS_T_SALES_M"]','full',NULL,'{"KPS_T_SALES_M":{"no date":3}}','plan-2','สมชาย','2024-05-01 12:00:06.000000');
CREATE TABLE sign_off (
	id INTEGER NOT NULL, 
	source_id VARCHAR(64) NOT NULL, 
	target_id VARCHAR(64) NOT NULL, 
	subject VARCHAR(128) NOT NULL, 
	actor VARCHAR(255) NOT NULL, 
	decision VARCHAR(16) NOT NULL, 
	note TEXT, 
	evidence_sha256 VARCHAR(64), 
	signed_utc DATETIME NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "sign_off" VALUES(1,'DB1.1','00Dproduction','reference','สมชาย','accepted','seen','eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee','2024-05-01 12:02:02.000000');
INSERT INTO "sign_off" VALUES(2,'DB1.1','00Dproduction','sales','สมหญิง','refused',NULL,NULL,'2024-05-01 12:02:03.000000');
CREATE TABLE stage_run (
	id INTEGER NOT NULL, 
	source_id VARCHAR(64) NOT NULL, 
	target_id VARCHAR(64) NOT NULL, 
	table_name VARCHAR(64) NOT NULL, 
	partition_key VARCHAR(16) NOT NULL, 
	stage VARCHAR(32) NOT NULL, 
	generation VARCHAR(26), 
	mapping_version VARCHAR(64), 
	run_id VARCHAR(255) NOT NULL, 
	actor VARCHAR(255) NOT NULL, 
	mode VARCHAR(16) NOT NULL, 
	state VARCHAR(32) NOT NULL, 
	rows BIGINT, 
	bytes BIGINT, 
	detail TEXT, 
	error TEXT, 
	started_utc DATETIME NOT NULL, 
	finished_utc DATETIME, 
	PRIMARY KEY (id)
);
INSERT INTO "stage_run" VALUES(1,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','oracle_extract',NULL,NULL,'run-1','สมชาย','full','failed',NULL,NULL,NULL,'Oracle does not answer.','2024-05-01 12:00:09.000000','2024-05-01 12:00:10.000000');
INSERT INTO "stage_run" VALUES(2,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','oracle_extract',NULL,NULL,'run-1','สมชาย','full','waiting',NULL,NULL,NULL,'The window is closed.','2024-05-01 12:00:11.000000','2024-05-01 12:00:12.000000');
INSERT INTO "stage_run" VALUES(3,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','oracle_extract','01HWT0DP4RNZDFQ77DF3A01M6Z',NULL,'run-1','สมชาย','full','done',20,500,'{"rows":20}',NULL,'2024-05-01 12:00:17.000000','2024-05-01 12:00:18.000000');
INSERT INTO "stage_run" VALUES(4,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','staged_csv','01HWT0DP4RNZDFQ77DF3A01M6Z','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608','run-1','สมชาย','full','done',20,500,'{"rows":20}',NULL,'2024-05-01 12:00:20.000000','2024-05-01 12:00:21.000000');
INSERT INTO "stage_run" VALUES(5,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','oracle_extract','01HWT0DWZG1N8SXCMYSKGYGQJW',NULL,'run-1','สมชาย','full','done',20,500,'{"rows":20}',NULL,'2024-05-01 12:00:24.000000','2024-05-01 12:00:25.000000');
INSERT INTO "stage_run" VALUES(6,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','staged_csv','01HWT0DWZG1N8SXCMYSKGYGQJW','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608','run-1','สมชาย','full','done',20,500,'{"rows":20}',NULL,'2024-05-01 12:00:27.000000','2024-05-01 12:00:28.000000');
INSERT INTO "stage_run" VALUES(7,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','sf_loaded','01HWT0DWZG1N8SXCMYSKGYGQJW','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608','run-1','สมชาย','full','done',20,500,'{"created":3,"loaded":4}',NULL,'2024-05-01 12:01:08.000000','2024-05-01 12:01:09.000000');
INSERT INTO "stage_run" VALUES(8,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','reconciled','01HWT0DWZG1N8SXCMYSKGYGQJW','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608','run-1','สมชาย','full','mismatch',20,500,'{"rows":20}',NULL,'2024-05-01 12:01:11.000000','2024-05-01 12:01:12.000000');
INSERT INTO "stage_run" VALUES(9,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','reconciled','01HWT0DWZG1N8SXCMYSKGYGQJW','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608','run-1','สมชาย','full','reconciled',20,500,'{"rows":20}',NULL,'2024-05-01 12:01:14.000000','2024-05-01 12:01:15.000000');
INSERT INTO "stage_run" VALUES(10,'DB1.1','00Dproduction','KPS_R_POS_SUPPLIER','ALL','reconciled','01HWT0DWZG1N8SXCMYSKGYGQJW','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608','run-1','สมชาย','full','reconciled_with_exceptions',20,500,'{"rows":20}',NULL,'2024-05-01 12:01:17.000000','2024-05-01 12:01:18.000000');
INSERT INTO "stage_run" VALUES(11,'DB1.1','00Dproduction','KPS_T_SALES_M','2024-01','oracle_extract','01HWT0FPK8Q1D61VJDGBG0DA19',NULL,'run-1','สมชาย','full','done',20,500,'{"rows":20}',NULL,'2024-05-01 12:01:23.000000','2024-05-01 12:01:24.000000');
INSERT INTO "stage_run" VALUES(12,'DB1.1','00Dproduction','KPS_T_SALES_M','2024-01','sf_loaded','01HWT0FPK8Q1D61VJDGBG0DA19','92089e1f8b0d447501d6d78ddf21ee6bade6bc5128327509624df9ceb6655608','run-1','สมชาย','full','rolled_back',20,500,'{"rows":20}',NULL,'2024-05-01 12:01:35.000000','2024-05-01 12:01:36.000000');
INSERT INTO "stage_run" VALUES(13,'DB1.1','00Dproduction','KPS_T_SALES_M','2024-02','oracle_extract','01HWT0G85RHM8VKZ0GTK6HY2H3',NULL,'run-1','สมชาย','full','done',20,500,'{"rows":20}',NULL,'2024-05-01 12:01:41.000000','2024-05-01 12:01:42.000000');
INSERT INTO "stage_run" VALUES(14,'DB1.1','00Dproduction','KPS_T_SALES_M','2024-02','oracle_extract','01HWT0GC2R3BV6FXW25151HBY4',NULL,'run-1','สมชาย','full','running',NULL,NULL,NULL,NULL,'2024-05-01 12:01:44.000000',NULL);
CREATE INDEX ix_stage_run_partition ON stage_run (source_id, target_id, table_name, partition_key, stage, id);
CREATE INDEX ix_attempt_partition ON attempt (source_id, target_id, table_name, partition_key);
CREATE INDEX ix_job_chunk ON job (generation, mapping_version, chunk);
CREATE INDEX ix_job_state ON job (target_id, state);
CREATE INDEX ix_quota_entry_window ON quota_entry (target_id, counted_utc);
CREATE INDEX ix_pause_environment ON pause (source_id, target_id, resumed_utc);
CREATE INDEX ix_reconciliation_run ON reconciliation (stage_run);
CREATE INDEX ix_failed_records_partition ON migration_failed_records (source_id, target_id, table_name, partition_key, state);
CREATE TRIGGER migration_audit_log_no_update BEFORE UPDATE ON migration_audit_log BEGIN SELECT RAISE(ABORT, 'migration_audit_log is append-only'); END;
CREATE TRIGGER migration_audit_log_no_delete BEFORE DELETE ON migration_audit_log BEGIN SELECT RAISE(ABORT, 'migration_audit_log is append-only'); END;
CREATE TRIGGER migration_audit_head_no_delete BEFORE DELETE ON migration_audit_head BEGIN SELECT RAISE(ABORT, 'migration_audit_head is kept'); END;
COMMIT;
