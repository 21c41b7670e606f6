"""The calls of a logged-in client: requests are read, run on the session and answered; cursors and LOBs are kept."""
