"""Web Push: notifications of mentions and direct chats for browsers in which no page of the city is open.

vapid               the key of the city, and the tokens that it signs for push services (RFC 8292)
payload_encryption  the encryption of a push for one browser (RFC 8291)
endpoints           checks of endpoints, and DNS answers without private addresses
client              requests to push services (RFC 8030)
notices             who gets a push for a message, and its content
sender              the queues between messages and requests
"""
