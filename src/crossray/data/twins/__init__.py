"""Layout twins: phantom studies written in exactly a publisher's format, one file a twin.

A twin shows that a source reads what its publisher ships without shipping any of it, and lets a user try a command
before a download of days. Its films are drawn; nothing learnt on them says anything of patients.
"""
