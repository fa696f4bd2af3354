"""
Published versions, current_model, backups and the trash.
"""
