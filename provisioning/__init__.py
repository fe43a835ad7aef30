"""Before the first boot: identities and what a card must carry."""
